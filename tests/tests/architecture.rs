//! Do the arrows between the rooms point the way ARCHITECTURE.md says?
//!
//! Reads the sources of the workspace and looks at what each file names. A test that fails here says
//! which file names what it must not know.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A source file: its path from the workspace's root, and what of it is code.
struct Source {
    path: String,
    code: String,
}

#[test]
fn agent_and_collector_never_see_each_other() -> Result<()> {
    absent(&under("agent/")?, &["submeter_collector"]);
    absent(&under("collector/")?, &["submeter_agent"]);
    Ok(())
}

#[test]
fn common_sees_neither_and_does_no_input_or_output() -> Result<()> {
    let common = under("common/src")?;
    absent(
        &common,
        &["submeter_agent", "submeter_collector", "submeter_tests"],
    );
    absent(&common, &["tokio", "axum", "hyper", "reqwest", "rocksdb"]);
    absent(
        &common,
        &["std::fs", "std::net", "std::process", "async fn", ".await"],
    );
    Ok(())
}

#[test]
fn nothing_sees_the_tests() -> Result<()> {
    absent(&under("agent/")?, &["submeter_tests"]);
    absent(&under("collector/")?, &["submeter_tests"]);
    Ok(())
}

#[test]
fn the_tests_know_the_product_from_outside_only() -> Result<()> {
    absent(
        &under("tests/")?,
        &["submeter_agent::", "submeter_collector::"],
    );
    let auditor: Vec<Source> = under("tests/src")?
        .into_iter()
        .filter(|file| file.path.contains("auditor"))
        .collect();
    absent(&auditor, &["submeter_common"]);
    Ok(())
}

#[test]
fn only_the_stores_name_rocksdb() -> Result<()> {
    let elsewhere = |room: &str| -> Result<Vec<Source>> {
        let outside = |file: &Source| !is_room(&file.path, room);
        Ok(under(room.split_once("src").map_or(room, |(top, _)| top))?
            .into_iter()
            .filter(outside)
            .collect())
    };
    absent(&elsewhere("agent/src/store")?, &["rocksdb"]);
    absent(&elsewhere("collector/src/storage/rocksdb")?, &["rocksdb::"]);
    Ok(())
}

#[test]
fn ingest_and_flush_meet_only_in_the_store() -> Result<()> {
    absent(&room("agent/src/ingest")?, &["crate::flush"]);
    absent(&room("agent/src/flush")?, &["crate::ingest"]);
    Ok(())
}

#[test]
fn the_pure_rooms_know_no_storage_no_clock_and_nothing_asynchronous() -> Result<()> {
    let unknown = [
        "crate::storage",
        "crate::api",
        "Clock",
        "SystemTime",
        "tokio",
        "async fn",
        ".await",
    ];
    for pure in ["rating", "money", "credits"] {
        absent(&room(&format!("collector/src/{pure}"))?, &unknown);
    }
    for pure in ["filter", "aggregate", "event"] {
        absent(
            &room(&format!("common/src/{pure}"))?,
            &["SystemClock", "SystemTime"],
        );
    }
    Ok(())
}

#[test]
fn no_binary_floating_point_where_a_bill_is_made() -> Result<()> {
    let mut rooms = under("common/src")?;
    for name in [
        "rating", "money", "credits", "ledger", "billing", "usage", "merge",
    ] {
        rooms.extend(room(&format!("collector/src/{name}"))?);
    }
    // A visitor that refuses floats has to name them.
    for file in &mut rooms {
        file.code = file
            .code
            .replace("fn visit_f64<E: de::Error>(self, _: f64)", "");
    }
    absent(&rooms, &["f64", "f32"]);
    Ok(())
}

#[test]
fn a_room_is_a_file_and_a_folder_of_its_name() -> Result<()> {
    let drawers = [
        "mod.rs",
        "util.rs",
        "utils.rs",
        "helper.rs",
        "helpers.rs",
        "misc.rs",
    ];
    for file in under("")? {
        let name = Path::new(&file.path)
            .file_name()
            .context("a name")?
            .to_string_lossy();
        assert!(
            !drawers.contains(&name.as_ref()),
            "{} is a drawer, not a noun",
            file.path
        );
    }
    Ok(())
}

#[test]
fn every_file_says_why_it_exists() -> Result<()> {
    let mut silent = Vec::new();
    for path in rust_files(&root())? {
        // `tests.rs` says it by its name: the tests of the room it lies in.
        if !path.ends_with("tests.rs") && !fs::read_to_string(&path)?.starts_with("//!") {
            silent.push(path);
        }
    }
    assert!(silent.is_empty(), "these files have no header: {silent:#?}");
    Ok(())
}

#[test]
fn open_work_lives_in_issues() -> Result<()> {
    // Spelled in two halves, so that this file does not name what it looks for.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    for path in rust_files(&root())? {
        let text = fs::read_to_string(&path)?;
        for word in words {
            assert!(!text.contains(word), "{} contains {word}", path.display());
        }
    }
    Ok(())
}

#[track_caller]
fn absent(files: &[Source], names: &[&str]) {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in file.code.lines().enumerate() {
            for name in names.iter().filter(|name| names_it(line, name)) {
                found.push(format!("{}:{} names {name}: {line}", file.path, number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Whether `line` has `name` as a word of its own: `Clock` is not in `ManualClocks`.
fn names_it(line: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let free = |edge: Option<char>| !edge.is_some_and(part);
        let before = !name.starts_with(part) || free(line[..at].chars().next_back());
        let after = !name.ends_with(part) || free(line[at + name.len()..].chars().next());
        before && after
    })
}

/// Files below a folder of the workspace, production code only.
fn under(folder: &str) -> Result<Vec<Source>> {
    let files = rust_files(&root().join(folder))?;
    let production = |path: &PathBuf| !is_test(path);
    files
        .into_iter()
        .filter(production)
        .map(|path| read(&path))
        .collect()
}

/// A room: `name.rs` and what is in `name/`.
fn room(room: &str) -> Result<Vec<Source>> {
    let parent = Path::new(room).parent().context("a room in a package")?;
    let folder = under(&parent.to_string_lossy())?;
    let found: Vec<Source> = folder
        .into_iter()
        .filter(|file| is_room(&file.path, room))
        .collect();
    assert!(
        !found.is_empty(),
        "the room {room} is gone: tell this test its new name"
    );
    Ok(found)
}

fn is_room(path: &str, room: &str) -> bool {
    path.strip_prefix(room)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn read(path: &Path) -> Result<Source> {
    let text = fs::read_to_string(path)?;
    // Tests come last in a file and may know more than what they test.
    let production = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: Vec<&str> = production
        .lines()
        .map(|line| if is_comment(line) { "" } else { line })
        .collect();
    let path = path.strip_prefix(root())?.to_string_lossy().into_owned();
    Ok(Source {
        path,
        code: code.join("\n"),
    })
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Whether a file lies in a folder of tests or benches inside its package.
fn is_below_tests(path: &Path) -> bool {
    let inside = path.strip_prefix(root()).unwrap_or(path);
    let mut folders = inside.components().skip(1).map(|part| part.as_os_str());
    folders.any(|name| name == "tests" || name == "benches")
}

fn is_test(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    name == "tests.rs"
        || name.ends_with("_test.rs")
        || is_below_tests(path)
        || path.ends_with("architecture.rs")
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .context("a name")?
            .to_string_lossy()
            .into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The checkout. Asked at run time: checkouts share a target directory, and this may have been built from another one.
fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package to its tests");
    let package = PathBuf::from(package);
    package
        .parent()
        .map_or_else(|| package.clone(), Path::to_owned)
}
