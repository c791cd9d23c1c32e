//! The committed code is what the `.proto` files generate. Uses none of it, so it also runs when that code is missing types.

use std::path::Path;

const SOURCES: [&str; 2] = ["remote_write_v1.proto", "remote_write_v2.proto"];
const GENERATED: [&str; 2] = ["prometheus.rs", "io.prometheus.write.v2.rs"];

/// Set `UPDATE_GENERATED=1` to write the committed files anew instead of comparing.
#[test]
fn committed_code_is_what_the_proto_files_generate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/gen");
    let fresh = tempfile::tempdir().expect("a temporary directory");
    let descriptors = protox::compile(SOURCES, [root.join("proto")]).expect("the .proto files compile");
    prost_build::Config::new().out_dir(fresh.path()).compile_fds(descriptors).expect("code is generated");

    let mut written: Vec<_> = std::fs::read_dir(fresh.path())
        .expect("the temporary directory is readable")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .collect();
    written.sort();
    let mut expected = GENERATED.map(String::from);
    expected.sort();
    assert_eq!(written, expected, "lib.rs includes exactly these files");

    let update = std::env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1");
    for name in GENERATED {
        let new = std::fs::read_to_string(fresh.path().join(name)).expect("generated code is readable");
        if update {
            std::fs::write(committed.join(name), &new).expect("src/gen is writable");
            continue;
        }
        let old = std::fs::read_to_string(committed.join(name)).expect("committed code is readable");
        assert!(old == new, "src/gen/{name} is out of date: run UPDATE_GENERATED=1 cargo test -p monitor-proto");
    }
}
