#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::model::ReadBuffer;
use tallygate::persistence::{Change, Record, Table};
use tallygate::store::Store;

// Records have checksums, but are not trusted even if these are right. The input is the changes of a
// commit.
fuzz_target!(|bytes: &[u8]| {
    let store = Store::default();
    let mut restore = store.restore();
    let mut rest = bytes;
    while let Some((change, after)) = Change::read(rest) {
        if let Change::Put(record) = change {
            let table =
                if record.table == Table::Families { Table::Families } else { Table::Series };
            let _ = restore.record(Record { table, ..record });
        }
        rest = after;
    }
    let _ = restore.finish();
    let mut buffer = ReadBuffer::default();
    for family in store.families().iter() {
        for series in family.series().iter() {
            series.with_state(|state| state.read(family.kind(), 160, &mut buffer));
        }
    }
});
