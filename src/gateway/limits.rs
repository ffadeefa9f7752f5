//! Every limit (DESIGN 7): what it counts, and the error for exceeding it. Defaults and documentation
//! are in `config/default.yaml` under `limits`; 0 means no limit.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Gateway;
use crate::model::exposition::PushedFamily;
use crate::model::labels::Extent;
use crate::store::StoreLimits;
use crate::telemetry::Limit;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// A pushed body as received.
    pub body_bytes: usize,
    /// A pushed body after decompression.
    pub decoded_body_bytes: usize,
    pub samples_per_push: usize,
    pub labels_per_series: usize,
    pub label_name_bytes: usize,
    pub label_value_bytes: usize,
    pub metric_name_bytes: usize,
    /// Of a help text, and of a unit.
    pub help_bytes: usize,
    pub store: StoreLimits,
    /// Bodies of all pushes in flight, as received.
    pub inflight_push_bytes: usize,
    pub connections: usize,
    pub remembered_keys_bytes: usize,
    pub remembered_sources: usize,
    /// Names and values of all header fields of a request.
    pub header_bytes: usize,
}

impl Limits {
    pub fn max(&self, limit: Limit) -> usize {
        match limit {
            Limit::BodyBytes => self.body_bytes,
            Limit::DecodedBodyBytes => self.decoded_body_bytes,
            Limit::SamplesPerPush => self.samples_per_push,
            Limit::LabelsPerSeries => self.labels_per_series,
            Limit::LabelNameBytes => self.label_name_bytes,
            Limit::LabelValueBytes => self.label_value_bytes,
            Limit::MetricNameBytes => self.metric_name_bytes,
            Limit::HelpBytes => self.help_bytes,
            Limit::BucketBounds => self.store.bucket_bounds,
            Limit::Series => self.store.series,
            Limit::SeriesPerJob => self.store.series_per_job,
            Limit::Families => self.store.families,
            Limit::InflightPushBytes => self.inflight_push_bytes,
            Limit::Connections => self.connections,
            Limit::HeaderBytes => self.header_bytes,
            Limit::RememberedKeysBytes => self.remembered_keys_bytes,
            Limit::RememberedSources => self.remembered_sources,
        }
    }

    /// # Errors
    /// If `found` exceeds the limit.
    pub fn check(&self, limit: Limit, found: usize) -> Result<(), OverLimit> {
        let max = self.max(limit);
        if max > 0 && found > max { Err(OverLimit { limit, max, found }) } else { Ok(()) }
    }

    /// # Errors
    /// If the help text or unit of a family exceeds a limit.
    pub fn check_texts(&self, family: &PushedFamily<'_>) -> Result<(), OverLimit> {
        for text in [family.help, family.unit].into_iter().flatten() {
            self.check(Limit::HelpBytes, text.len())?;
        }
        Ok(())
    }

    /// # Errors
    /// If a label set of the push exceeds a limit.
    pub fn check_labels(&self, extent: Extent) -> Result<(), OverLimit> {
        self.check(Limit::LabelsPerSeries, extent.labels)?;
        self.check(Limit::LabelNameBytes, extent.name_bytes)?;
        self.check(Limit::LabelValueBytes, extent.value_bytes)
    }
}

/// One push or request exceeds a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is {max}, but there are {found}", .limit.word())]
pub struct OverLimit {
    pub limit: Limit,
    pub max: usize,
    pub found: usize,
}

/// A share of something limited. Dropping it gives it back.
#[derive(Debug)]
pub struct Permit<U: Deref<Target = AtomicUsize>> {
    used: U,
    amount: usize,
}

/// A share of the bytes of bodies in flight.
pub type BodyPermit<'g> = Permit<&'g AtomicUsize>;

impl<U: Deref<Target = AtomicUsize>> Permit<U> {
    fn take(used: U, amount: usize, max: usize) -> Option<Permit<U>> {
        let before = used.fetch_add(amount, Relaxed);
        let permit = Permit { used, amount };
        // If this is too much, dropping the permit gives it back. A push may be of any size if it is
        // the only one.
        (max == 0 || before == 0 || before + amount <= max).then_some(permit)
    }
}

impl<U: Deref<Target = AtomicUsize>> Drop for Permit<U> {
    fn drop(&mut self) {
        self.used.fetch_sub(self.amount, Relaxed);
    }
}

impl Gateway {
    /// Room for this many bytes of a body; `None` if too much is in flight.
    pub fn permit_body(&self, bytes: usize) -> Option<BodyPermit<'_>> {
        Permit::take(&self.inflight_bytes, bytes, self.settings().limits.inflight_push_bytes)
    }

    /// Asks for room for this many more bytes; false if too much is in flight.
    pub fn extend_body(&self, permit: &mut BodyPermit<'_>, bytes: usize) -> bool {
        let before = permit.used.fetch_add(bytes, Relaxed);
        permit.amount += bytes;
        let max = self.settings().limits.inflight_push_bytes;
        let alone = before + bytes == permit.amount;
        max == 0 || alone || before + bytes <= max
    }

    /// A place for one more connection; `None` if there is none left.
    pub fn permit_connection(&self) -> Option<Permit<Arc<AtomicUsize>>> {
        let max = self.settings().limits.connections;
        let permit = Permit::take(self.connections.clone(), 1, max);
        if permit.is_none() {
            self.telemetry().connection_refused(max);
        }
        permit
    }

    pub(super) fn inflight_bytes(&self) -> usize {
        self.inflight_bytes.load(Relaxed)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_given_back() {
        let used = &AtomicUsize::new(0);
        let first = Permit::take(used, 60, 100).unwrap();
        assert!(Permit::take(used, 60, 100).is_none());
        assert_eq!(used.load(Relaxed), 60);
        drop(first);
        assert!(Permit::take(used, 1000, 100).is_some(), "alone, anything may go");
        assert_eq!(used.load(Relaxed), 0);
    }
}
