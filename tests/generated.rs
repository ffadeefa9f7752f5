//! Generated files in the repository are up to date.

/// `UPDATE_EXPECT=1 cargo test --test generated` regenerates it.
#[test]
fn wire_rs_follows_metrics_proto() {
    let descriptors = protox::compile(["metrics.proto"], ["proto"]).expect("proto/metrics.proto");
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    prost_build::Config::new()
        // Few buckets have an exemplar, and a message with many empty buckets must not take much
        // memory.
        .boxed(".io.prometheus.client.Bucket.exemplar")
        .out_dir(directory)
        .compile_fds(descriptors)
        .expect("generate");
    let generated = std::fs::read_to_string(directory.join("io.prometheus.client.rs"))
        .expect("read what was generated");

    expect_test::expect_file!["../src/format/protobuf/wire.rs"].assert_eq(&generated);
}
