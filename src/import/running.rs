//! Imports what a running Pushgateway shows. Its JSON API lists which series are in which group, and when
//! they were pushed. An exposition in protobuf has their values with exemplars and native histograms,
//! which the JSON does not have in full.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ImportError, Imported, read_family, stamp};
use crate::format::protobuf::{self, RawMetric};
use crate::groups::{Groups, ImportedGroup, PUSH_FAILURE_TIME, PUSH_TIME, Stamp};
use crate::model::{FamilyHead, Grouping, Kind};

/// Prefixes of a gateway's own metrics.
const OWN: [&str; 5] = ["go_", "process_", "promhttp_", "pushgateway_", "tallygate_"];

type Labels = BTreeMap<String, String>;

/// The answer of `/api/v1/metrics`. Two answers are equal if nothing was pushed in between.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by their labels.
    groups: Vec<Group>,
}

#[derive(Debug, PartialEq, Eq)]
struct Group {
    labels: Labels,
    families: BTreeMap<String, Family>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Family {
    time_stamp: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    help: String,
    metrics: Option<Vec<Metric>>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Metric {
    labels: Labels,
    value: Option<String>,
}

impl Listing {
    /// # Errors
    /// If the answer is something else.
    pub fn read(answer: &[u8]) -> Result<Listing, ImportError> {
        #[derive(Deserialize)]
        struct Document {
            data: Vec<Map<String, Value>>,
        }
        let document: Document = serde_json::from_slice(answer)
            .map_err(|error| ImportError::Listing(error.to_string()))?;
        let groups = document.data.into_iter().map(Group::read);
        let mut groups = groups.collect::<Result<Vec<_>, _>>()?;
        groups.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Listing { groups })
    }
}

impl Group {
    fn read(mut object: Map<String, Value>) -> Result<Group, ImportError> {
        // A metric with this name would replace the entry.
        let key = object.get("labels").and_then(|labels| Labels::deserialize(labels).ok());
        if key.is_some() {
            object.remove("labels");
        }
        if object.get("last_push_successful").is_some_and(Value::is_boolean) {
            object.remove("last_push_successful");
        }
        let mut families = BTreeMap::new();
        for (name, family) in object {
            let family = Family::deserialize(family)
                .map_err(|error| ImportError::Listing(format!("{name}: {error}")))?;
            families.insert(name, family);
        }
        let of_push_time =
            || families.get(PUSH_TIME)?.metrics().first().map(|one| one.labels.clone());
        let labels = key.or_else(of_push_time);
        let labels = labels.ok_or_else(|| ImportError::Listing("a group without labels".into()))?;
        Ok(Group { labels, families })
    }

    fn stamp(&self, bookkeeping: &str) -> Option<Stamp> {
        let family = self.families.get(bookkeeping)?;
        let seconds = family.metrics().first()?.value.as_deref()?.parse().ok()?;
        Some(stamp(seconds, time(&family.time_stamp)?))
    }
}

impl Family {
    fn metrics(&self) -> &[Metric] {
        self.metrics.as_deref().unwrap_or_default()
    }
}

/// Imports the listed groups with the values of `exposition`, which was made at the same time.
///
/// # Errors
/// If that is not an exposition. Then nothing was imported.
pub fn import_running(
    listing: &Listing,
    exposition: &[u8],
    groups: &Groups,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    let mut owners = HashMap::new();
    for (at, group) in listing.groups.iter().enumerate() {
        for (name, family) in group.pushed() {
            for metric in family.metrics() {
                // If two groups have the same series, the later one loses it below.
                owners.entry((name, &metric.labels)).or_insert(at);
            }
        }
    }
    let shown = protobuf::split(exposition)?;
    let mut values: Vec<BTreeMap<&str, Vec<&RawMetric<'_>>>> = Vec::new();
    values.resize_with(listing.groups.len(), BTreeMap::new);
    let mut strangers: BTreeMap<&str, usize> = BTreeMap::new();
    for metric in &shown {
        match owners.get(&(metric.family, &metric.labels)) {
            Some(&at) => values[at].entry(metric.family).or_default().push(metric),
            None if is_own(metric.family) => {}
            None => *strangers.entry(metric.family).or_default() += 1,
        }
    }
    let mut read = Vec::new();
    for (group, values) in listing.groups.iter().zip(&values) {
        read.extend(group.take_over(values, groups, &mut imported));
    }
    imported.put(read, groups);
    let lines = strangers.iter().map(|(name, count)| format!("{name}: {count} series of no group"));
    imported.left_out.extend(lines);
    Ok(imported)
}

impl Group {
    fn pushed(&self) -> impl Iterator<Item = (&str, &Family)> {
        let families = self.families.iter().map(|(name, family)| (&**name, family));
        families.filter(|(name, _)| !matches!(*name, PUSH_TIME | PUSH_FAILURE_TIME))
    }

    fn take_over(
        &self,
        values: &BTreeMap<&str, Vec<&RawMetric<'_>>>,
        groups: &Groups,
        imported: &mut Imported,
    ) -> Option<ImportedGroup> {
        let pairs = self.labels.iter().map(|(name, value)| (&**name, &**value));
        let grouping = match Grouping::of_group(pairs) {
            Ok(grouping) => grouping,
            Err(error) => {
                imported.left_out.push(format!("group {:?}: {error}", self.labels));
                return None;
            }
        };
        let mut families = Vec::new();
        for (name, family) in self.pushed() {
            let values = values.get(name).map(Vec::as_slice).unwrap_or_default();
            let missing = family.metrics().len().saturating_sub(values.len());
            if missing > 0 {
                let key = grouping.key();
                let line = format!("{name}: {missing} series of group {{{key}}} have no value");
                imported.left_out.push(line);
            }
            match family.read(name, values, &grouping, groups) {
                Ok(family) => families.push(family),
                Err(reason) => imported.left_out.push(format!("{name}: {reason}")),
            }
        }
        Some(ImportedGroup {
            grouping,
            families,
            pushed: self.stamp(PUSH_TIME).unwrap_or_default(),
            failed: self.stamp(PUSH_FAILURE_TIME).unwrap_or_default(),
        })
    }
}

impl Family {
    fn read(
        &self,
        name: &str,
        values: &[&RawMetric<'_>],
        grouping: &Grouping,
        groups: &Groups,
    ) -> Result<std::sync::Arc<crate::groups::Family>, String> {
        let kind = kind(&self.kind).ok_or_else(|| format!("type {:?} is not known", self.kind))?;
        let pushed_ns = time(&self.time_stamp)
            .ok_or_else(|| format!("time stamp {:?} cannot be read", self.time_stamp))?;
        let unit = values.first().map(|metric| metric.unit).unwrap_or_default();
        let head = FamilyHead { name, kind, help: &self.help, unit };
        let message = protobuf::join(head, values.iter().copied());
        read_family(&message, grouping, groups.hasher(), pushed_ns)
    }
}

fn is_own(name: &str) -> bool {
    matches!(name, PUSH_TIME | PUSH_FAILURE_TIME) || OWN.iter().any(|own| name.starts_with(own))
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "COUNTER" => Kind::Counter,
        "GAUGE" => Kind::Gauge,
        "UNTYPED" => Kind::Untyped,
        "SUMMARY" => Kind::Summary,
        "HISTOGRAM" => Kind::Histogram,
        "GAUGE_HISTOGRAM" => Kind::GaugeHistogram,
        _ => return None,
    })
}

/// RFC 3339 in any zone, in nanoseconds since the Unix epoch.
fn time(text: &str) -> Option<i64> {
    let (local, zone_s) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
            let (sign, zone) = zone.split_at_checked(1)?;
            let sign = match sign {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let (hours, minutes) = zone.split_once(':')?;
            let number = |text: &str| text.parse::<u8>().ok().map(i64::from);
            (local, sign * (number(hours)? * 3600 + number(minutes)? * 60))
        }
    };
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let since: Duration = local.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()?.checked_sub(zone_s * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exposition::SeriesHasher;

    #[test]
    fn times_of_all_zones() {
        for (text, ns) in [
            ("1970-01-01T00:00:01Z", Some(1_000_000_000)),
            ("1970-01-01T02:00:01.5+02:00", Some(1_500_000_000)),
            ("1969-12-31T23:30:00-00:30", None),
            ("1970-01-01T00:00:00.000000001-05:30", Some(19_800_000_000_001)),
            ("1970-01-01T00:00:01", None),
            ("1970-01-01T00:00:01+0200", None),
            ("1970-01-01T00:00:01é:00", None),
            ("", None),
        ] {
            assert_eq!(time(text), ns, "{text}");
        }
    }

    const LISTING: &str = r#"{"status": "success", "data": [{
        "labels": {"job": "a"}, "last_push_successful": true,
        "x": {"time_stamp": "2026-01-01T00:00:00Z", "type": "GAUGE", "metrics": [
            {"labels": {"job": "a", "instance": ""}, "value": "1"}]},
        "push_time_seconds": {"time_stamp": "2026-01-01T00:00:00Z", "type": "GAUGE", "metrics": [
            {"labels": {"job": "a", "instance": ""}, "value": "1.5"}]}}]}"#;

    fn import(listing: &str, exposition: &[u8]) -> Result<Imported, ImportError> {
        let groups = Groups::new(SeriesHasher::default(), [], false);
        import_running(&Listing::read(listing.as_bytes())?, exposition, &groups)
    }

    #[test]
    fn what_cannot_be_taken_over_is_told() {
        let stranger = protobuf::delimited(b"\x0a\x01y\x22\x00");
        for (listing, exposition, expected) in [
            (LISTING.to_owned(), &b""[..], "x: 1 series of group {job=\"a\"} have no value"),
            (LISTING.replacen("GAUGE", "ODD", 1), b"", "x: type \"ODD\" is not known"),
            (
                LISTING.replacen("00Z", "00", 1),
                b"",
                "x: time stamp \"2026-01-01T00:00:00\" cannot be read",
            ),
            (LISTING.to_owned(), &stranger, "y: 1 series of no group"),
        ] {
            let imported = import(&listing, exposition).expect("the rest is fine");
            assert_eq!(imported.groups, 1);
            assert!(imported.left_out.iter().any(|line| line == expected), "{imported:?}");
        }
    }

    #[test]
    fn other_answers_are_refused() {
        for listing in ["", "[]", "{}", r#"{"data": [{}]}"#, r#"{"data": [{"x": 1}]}"#] {
            assert!(matches!(import(listing, b""), Err(ImportError::Listing(_))), "{listing}");
        }
        assert!(matches!(import(LISTING, b"x 1\n"), Err(ImportError::Exposition(_))));
    }

    #[test]
    fn a_metric_named_labels_hides_no_group() {
        let listing =
            LISTING.replace(r#""labels": {"job": "a"},"#, "").replace("\"x\"", "\"labels\"");
        let listing = Listing::read(listing.as_bytes()).expect("a listing");
        let names: Vec<_> = listing.groups[0].pushed().map(|(name, _)| name).collect();
        assert_eq!(names, ["labels"]);
        assert_eq!(listing.groups[0].labels["job"], "a");
    }
}
