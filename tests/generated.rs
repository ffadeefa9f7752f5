//! What is generated and kept in the repository is what its source says.

/// `UPDATE_EXPECT=1 cargo test --test generated` writes it anew.
#[test]
fn wire_rs_follows_metrics_proto() {
    let descriptors = protox::compile(["metrics.proto"], ["proto"]).expect("proto/metrics.proto");
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    prost_build::Config::new()
        // Few buckets have an exemplar, and a message of many empty buckets must not become large.
        .boxed(".io.prometheus.client.Bucket.exemplar")
        .out_dir(directory)
        .compile_fds(descriptors)
        .expect("generate");
    let generated = std::fs::read_to_string(directory.join("io.prometheus.client.rs"))
        .expect("read what was generated");

    expect_test::expect_file!["../src/format/protobuf/wire.rs"].assert_eq(&generated);
}
