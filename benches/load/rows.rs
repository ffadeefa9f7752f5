//! The rows of the tables: which load each server gets, and what is measured.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::client::{self, Load, Outcome};
use crate::report::{Felt, Growth, PushRow, Report, ScrapeRow, note};
use crate::shapes::{self, Form, SMALL_SAMPLES};
use crate::target::{Kind, Target};
use crate::{Plan, median};

/// Label sets that exist before pushes are measured.
const LABEL_SETS: u64 = 1000;
const FOR_EVER: Duration = Duration::from_secs(600);

const fn load(connections: usize, count: u64, time: Duration) -> Load {
    Load { connections, fresh: false, from: 0, count, time, rate: None }
}

/// A row of the table of pushes.
struct Row {
    name: &'static str,
    goal: f64,
    /// CPU of gravel-gateway 1.7 relative to the null server, as measured elsewhere: it is not
    /// available here.
    gravel: Option<f64>,
    connections: usize,
    form: Form,
    fresh: bool,
}

const SMALL_ROWS: [Row; 4] = [
    Row {
        name: "keep-alive, 64 connections, text",
        goal: 1.35,
        gravel: Some(13.1),
        connections: 64,
        form: Form::Text,
        fresh: false,
    },
    Row {
        name: "a new connection per push",
        goal: 1.10,
        gravel: Some(3.2),
        connections: 16,
        form: Form::Text,
        fresh: true,
    },
    Row {
        name: "delimited protobuf",
        goal: 1.30,
        gravel: None,
        connections: 64,
        form: Form::Protobuf,
        fresh: false,
    },
    Row { name: "gzip", goal: 1.80, gravel: None, connections: 64, form: Form::Gzip, fresh: false },
];

const MEDIUM_ROW: Row = Row {
    name: "200 samples, 16 connections, text",
    goal: 2.2,
    gravel: Some(81.0),
    connections: 16,
    form: Form::Text,
    fresh: false,
};

/// The cost of a push, relative to the null server.
pub(crate) fn pushes(plan: &Plan, report: &mut Report) -> io::Result<()> {
    let mut kinds = vec![Kind::Null, Kind::Gateway];
    if plan.others {
        kinds.extend([Kind::PushgatewayUnchecked, Kind::PushgatewayChecked]);
    }
    let targets = start(&kinds, &shapes::small())?;
    for row in SMALL_ROWS.iter().filter(|row| plan.wants(row.name)) {
        report.pushes.push(push_row(plan, row, &targets, &shapes::small())?);
    }
    drop(targets);
    if plan.wants("synced") && crate::target::has_store() {
        let targets = start(&[Kind::Null, Kind::Gateway, Kind::Synced], &shapes::small())?;
        let row =
            Row { name: "64 connections, text, synced", goal: 2.0, gravel: None, ..SMALL_ROWS[0] };
        report.pushes.push(push_row(plan, &row, &targets, &shapes::small())?);
    }
    if plan.wants(MEDIUM_ROW.name) {
        let targets = start(&kinds, &shapes::medium())?;
        report.pushes.push(push_row(plan, &MEDIUM_ROW, &targets, &shapes::medium())?);
    }
    Ok(())
}

/// Starts servers and creates the label sets.
fn start(kinds: &[Kind], body: &[u8]) -> io::Result<Vec<Target>> {
    let write = shapes::push(body, Form::Text, LABEL_SETS, false);
    let start = |&kind| {
        let checked = kind == Kind::PushgatewayChecked;
        // With its check on, creating label sets of 200 samples would take minutes.
        let target = Target::start(if checked { Kind::PushgatewayUnchecked } else { kind })?;
        client::run(target.address, load(16, LABEL_SETS, FOR_EVER), &write)?;
        if checked { target.with_check() } else { Ok(target) }
    };
    kinds.iter().map(start).collect()
}

fn push_row(plan: &Plan, row: &Row, targets: &[Target], body: &[u8]) -> io::Result<PushRow> {
    note(row.name);
    let write = shapes::push(body, row.form, LABEL_SETS, row.fresh);
    let mut rounds: Vec<Vec<(f64, Outcome)>> = targets.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.rounds {
        for (target, rounds) in targets.iter().zip(&mut rounds) {
            let other =
                matches!(target.kind, Kind::PushgatewayChecked | Kind::PushgatewayUnchecked);
            if other && round >= 2 {
                continue;
            }
            let mut load = load(row.connections, u64::MAX, plan.segment);
            load.fresh = row.fresh;
            let before = target.cpu();
            let outcome = client::run(target.address, load, &write)?;
            let each = target.cpu().since(&before) as f64 / outcome.count() as f64;
            rounds.push((each / 1000.0, outcome));
        }
    }
    let mut servers = Vec::new();
    for (target, own) in targets.iter().zip(&rounds) {
        // Each round is relative to the null server in the same round.
        let ratios = own.iter().zip(&rounds[0]).map(|((cpu, _), (null, _))| cpu / null);
        let latency = |q| median(own.iter().map(|(_, outcome)| outcome.quantile(q)));
        servers.push(crate::report::Server {
            kind: target.kind,
            cpu_us: median(own.iter().map(|(cpu, _)| *cpu)),
            ratio: median(ratios),
            per_second: median(own.iter().map(|(_, o)| o.count() as f64 / o.seconds)),
            client_busy: median(own.iter().map(|(_, o)| o.busy_seconds / o.seconds * 100.0)),
            latency_ms: [latency(0.5), latency(0.99), latency(0.999)],
            resident: target.resident(),
        });
    }
    Ok(PushRow { name: row.name, goal: row.goal, gravel: row.gravel, servers })
}

/// Pushes new label sets until `lines` series lines are stored, and measures cost and pauses.
pub(crate) fn growth(plan: &Plan, report: &mut Report) -> io::Result<Option<Target>> {
    if !plan.wants("growth") && !plan.wants("scrape") {
        return Ok(None);
    }
    let mut kinds = vec![(Kind::Null, plan.lines)];
    if plan.others {
        kinds.push((Kind::PushgatewayChecked, plan.lines.min(20_000)));
        kinds.push((Kind::PushgatewayUnchecked, plan.lines));
    }
    kinds.push((Kind::Gateway, plan.lines));
    let mut last = None;
    for (kind, lines) in kinds {
        note(&format!("growth: {}", kind.word()));
        let target = Target::start(kind)?;
        let (growth, resident) = grow(&target, lines)?;
        report.growth.push(growth);
        if kind == Kind::PushgatewayUnchecked && plan.wants("scrape") {
            let plain = shapes::scrape(false);
            for (name, request) in [("plain", plain), ("gzip", shapes::scrape(true))] {
                let cpu = scrape_cpu(&target, &request)?;
                report.pushgateway_scrapes.push((name, cpu / 1e9));
            }
        }
        if kind != Kind::Null {
            report.memory.push((kind.word().to_owned(), resident as f64 / lines as f64));
        }
        last = Some(target);
    }
    Ok(last)
}

/// The second number is the growth of resident memory.
fn grow(target: &Target, lines: u64) -> io::Result<(Growth, u64)> {
    const STEPS: u64 = 25;
    let write = shapes::push(&shapes::small(), Form::Text, u64::MAX, false);
    let resident = target.resident();
    let pushes = lines / SMALL_SAMPLES;
    let mut growth = Growth { kind: target.kind, points: Vec::new(), p999_ms: 0.0, max_ms: 0.0 };
    for step in 0..STEPS {
        let mut load = load(16, pushes / STEPS, FOR_EVER);
        load.from = step * (pushes / STEPS);
        let before = target.cpu();
        let outcome = client::run(target.address, load, &write)?;
        let each = target.cpu().since(&before) as f64 / 1000.0 / outcome.count() as f64;
        let stored = (load.from + load.count / 2) * SMALL_SAMPLES;
        growth.points.push((stored as f64, each));
        growth.p999_ms = growth.p999_ms.max(outcome.quantile(0.999));
        growth.max_ms = growth.max_ms.max(outcome.quantile(1.0));
    }
    Ok((growth, target.resident() - resident))
}

/// Nanoseconds of CPU.
fn scrape_cpu(target: &Target, request: &[u8]) -> io::Result<f64> {
    let before = target.cpu();
    client::fetch(target.address, request, false)?;
    // The end of a scrape is still processed after its last byte was sent.
    std::thread::sleep(Duration::from_millis(5));
    Ok(target.cpu().since(&before) as f64)
}

/// The cost of a scrape, relative to sending as many bytes that are ready. `grown` holds 1 M lines.
pub(crate) fn scrapes(plan: &Plan, grown: &Target, report: &mut Report) -> io::Result<()> {
    if !plan.wants("scrape") {
        return Ok(());
    }
    let null = Target::start(Kind::Null)?;
    let sets = plan.lines / SMALL_SAMPLES;
    let all = shapes::push(&shapes::small(), Form::Text, sets, false);

    let small = Target::start(Kind::Gateway)?;
    let tenth = sets / 10;
    client::run(small.address, load(16, tenth, FOR_EVER), &all)?;
    let row = |name, goal| ScrapeRow { name, goal, ..ScrapeRow::default() };
    for (target, sets, gzip, row) in [
        (&small, tenth, false, row("a tenth of it, plain, everything changed", 2.0)),
        (&small, 0, false, row("a tenth of it, plain, unchanged", 2.0)),
        (grown, sets, false, row("all lines, plain, everything changed", 2.0)),
        (grown, sets, true, row("all lines, gzip, everything changed", 60.0)),
    ] {
        note(row.name);
        let change = |_| client::run(target.address, load(16, sets, FOR_EVER), &all).map(|_| ());
        report.scrapes.push(scrape_row(plan, &null, target, gzip, row, &change)?);
    }
    drop(small);

    let families = Target::start(Kind::Gateway)?;
    let (count, some) = (plan.lines / 1000, shapes::push_families(100));
    let resident = families.resident();
    client::run(families.address, load(2, count, FOR_EVER), &shapes::push_families(1))?;
    let each = (families.resident() - resident) as f64 / plan.lines as f64;
    report.memory.push(("Tallygate, counters alone".to_owned(), each));
    for (name, goal, gzip) in [
        ("counters of 1,000 families, gzip, 1 % of the families changed", 6.0, true),
        ("the same, plain", 2.0, false),
    ] {
        note(name);
        let change =
            |_| client::run(families.address, load(2, count / 100, FOR_EVER), &some).map(|_| ());
        report.scrapes.push(scrape_row(plan, &null, &families, gzip, row(name, goal), &change)?);
    }
    Ok(())
}

fn scrape_row(
    plan: &Plan,
    null: &Target,
    target: &Target,
    gzip: bool,
    mut row: ScrapeRow,
    change: &dyn Fn(u64) -> io::Result<()>,
) -> io::Result<ScrapeRow> {
    let request = shapes::scrape(gzip);
    let body = client::fetch(target.address, &request, true)?;
    client::fetch(null.address, &shapes::keep(&body), false)?;
    row.bytes = body.len();
    // Sending a few bytes once takes too little time to measure.
    let times = (100_000_000 / body.len().max(1)).clamp(1, 50);
    let ready = |request: &[u8]| {
        let before = null.cpu();
        for _ in 0..times {
            client::fetch(null.address, request, false)?;
        }
        io::Result::Ok(null.cpu().since(&before) as f64 / times as f64)
    };
    let mut measured = Vec::new();
    for round in 0..plan.scrapes {
        change(round)?;
        let cpu = scrape_cpu(target, &request)?;
        measured.push((cpu, ready(&request)?, ready(shapes::at_once())?));
    }
    row.cpu_ms = median(measured.iter().map(|(cpu, ..)| cpu / 1e6));
    row.null_ms = median(measured.iter().map(|(_, _, null)| null / 1e6));
    row.ratio = median(measured.iter().map(|(cpu, _, null)| cpu / null));
    row.in_pieces = median(measured.iter().map(|(cpu, null, _)| cpu / null));
    row.resident = target.resident();
    Ok(row)
}

/// How much scrapes of everything slow down pushes, also on a null server that sends the same bytes.
pub(crate) fn scrapes_felt(plan: &Plan, grown: &Target, report: &mut Report) -> io::Result<()> {
    if !plan.wants("felt") {
        return Ok(());
    }
    let null = Target::start(Kind::Null)?;
    for gzip in [false, true] {
        note(if gzip { "pushes during scrapes, gzip" } else { "pushes during scrapes, plain" });
        let scrape = shapes::scrape(gzip);
        let body = client::fetch(grown.address, &scrape, true)?;
        client::fetch(null.address, &shapes::keep(&body), false)?;
        let servers = [&null, grown];
        let mut measured = [(); 2].map(|()| (Vec::new(), Vec::new()));
        for _ in 0..plan.rounds.div_ceil(2) {
            for (server, (without, with)) in servers.iter().zip(&mut measured) {
                without.push(p99(plan, server)?);
                with.push(during(server, &scrape, || p99(plan, server))?);
            }
        }
        for (server, (without, with)) in servers.iter().zip(measured) {
            let (without, with) = (median(without), median(with));
            report.felt.push(Felt { server: server.kind, gzip, without, with });
        }
    }
    Ok(())
}

/// The p99 of a thousand pushes per second, in milliseconds.
fn p99(plan: &Plan, target: &Target) -> io::Result<f64> {
    let write = shapes::push(&shapes::small(), Form::Text, plan.lines / SMALL_SAMPLES, false);
    let paced = Load { rate: Some(1000.0), ..load(16, u64::MAX, plan.segment * 4) };
    Ok(client::run(target.address, paced, &write)?.quantile(0.99))
}

/// Does something while a server is scraped continuously.
fn during<T>(
    target: &Target,
    scrape: &[u8],
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            while !done.load(Relaxed) {
                client::fetch(target.address, scrape, false)?;
            }
            io::Result::Ok(())
        });
        let outcome = work();
        done.store(true, Relaxed);
        scraper.join().map_err(|_| io::Error::other("scraper"))??;
        outcome
    })
}
