//! Pushes: what is accepted, what is refused, and that a refused push changes nothing.

use crate::harness::start;

#[test]
fn counters_add_up() {
    let gateway = start();
    for _ in 0..3 {
        gateway.accept("/metrics/job/j", "# TYPE a_total counter\na_total{x=\"1\"} 2\n");
    }
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"1\"}"), 6.0);
}

#[test]
fn a_malformed_line_refuses_the_whole_push() {
    let mut gateway = start();
    gateway.accept("/metrics/job/j", "a 1\n");
    let problem = gateway.refuse("/metrics/job/j", "a 1\nb nonsense\n", 400);
    assert_eq!(problem["line"], 2);
}
