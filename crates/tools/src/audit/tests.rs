use super::*;

/// What a source needs, in one line: only what is not empty.
fn shown(language: Language, source: &str, requirements: &[&str]) -> String {
    let needs = audit(language, source, requirements);
    let list = |name: &str, values: &BTreeSet<String>| {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        (!values.is_empty()).then(|| format!("{name}={}", values.join(",")))
    };
    let parts = [
        list("hosts", &needs.hosts),
        list("network", &needs.network),
        list("reads", &needs.reads),
        list("writes", &needs.writes),
        list("variables", &needs.variables),
        list("programs", &needs.programs),
        list("packages", &needs.packages),
        list("unseen", &needs.unseen),
        needs
            .unreadable
            .map(|reason| format!("unreadable={reason}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Sources, and what they need.
const PYTHON: &[(&str, &str)] = &[
    ("def f():\n    return 1", ""),
    (
        "import requests\nrequests.get('https://API.example.com:8443/v1?x=1')",
        "hosts=api.example.com network=requests packages=requests",
    ),
    (
        "import httpx\nhost = 'x'\nhttpx.get(f'https://{host}/a')",
        "hosts=(computed) network=httpx packages=httpx",
    ),
    (
        "from urllib.request import urlopen\nurlopen('http://user:pw@a.org/b')",
        "hosts=a.org network=urllib.request",
    ),
    ("from urllib.parse import quote\nquote('x')", ""),
    (
        "def f():\n    'see https://docs.example.com'\n    return 1",
        "",
    ),
    (
        "import socket\ns = socket.socket()\ns.connect(('10.0.0.1', 80))",
        "hosts=10.0.0.1 network=socket",
    ),
    (
        "import smtplib\nsmtplib.SMTP('mail.example.com', 25)",
        "hosts=mail.example.com network=smtplib",
    ),
    (
        "import os\nos.environ['A']; os.getenv('B'); os.environ.get('C', '')",
        "variables=A,B,C",
    ),
    ("import os\ndict(os.environ)", "variables=(computed)"),
    (
        "import os\nfor k, v in os.environ.items(): pass",
        "variables=(computed)",
    ),
    (
        "import os\nf = 'A' in os.environ and not 'B' not in os.environ",
        "variables=A,B",
    ),
    (
        "from os import *\nenviron['A']; getenv('B'); remove('/c')",
        "writes=/c variables=A,B",
    ),
    ("from subprocess import *\nrun(['ls'])", "programs=ls"),
    (
        "from pathlib import Path\np = Path('/a')\np.unlink()\np.parent.exists()",
        "reads=/a writes=/a",
    ),
    (
        "import pathlib\npathlib.Path('/a').write_text('x')",
        "reads=/a writes=/a",
    ),
    (
        "from pathlib import *\nPath('/a').open('w')\nPath('/b').open()",
        "reads=/a,/b writes=/a",
    ),
    (
        "open(file='/a', mode='w')\nopen(file='/b')",
        "reads=/b writes=/a",
    ),
    (
        "from os import environ as e, getenv\ne['A']; getenv(name)",
        "variables=(computed),A",
    ),
    (
        "open('/etc/passwd'); open('out.txt', 'w'); open(p, mode='a')",
        "reads=/etc/passwd writes=(computed),out.txt",
    ),
    (
        "from pathlib import Path\nPath('/data').glob('*'); Path(x)",
        "reads=/data",
    ),
    (
        "import os, shutil\nos.remove('/tmp/a'); shutil.copy('/b', '/c')",
        "reads=/b writes=/c,/tmp/a",
    ),
    (
        "import pandas as pd\npd.read_csv('https://d.org/x.csv'); pd.read_csv('/x.csv')",
        "hosts=d.org reads=/x.csv packages=pandas",
    ),
    (
        "import subprocess as sp\nsp.run(['git', 'log']); sp.check_output('ls -la', shell=True); sp.Popen(cmd)",
        "programs=(computed),git,ls",
    ),
    ("import os\nos.system(f'curl {url}')", "programs=curl"),
    ("eval('1'); __import__('x')", "unseen=__import__,eval"),
    (
        "import numpy.linalg, yaml, bs4, json\nfrom PIL import Image",
        "packages=beautifulsoup4,numpy,pillow,pyyaml",
    ),
    ("from . import near\nfrom .x import y", ""),
    (
        "def f():\n    import yaml\n    if True:\n        import redis",
        "network=redis packages=pyyaml,redis",
    ),
    (
        "def f(:",
        "unreadable=line 1: this is no Python: Expected a parameter or the end of the parameter list",
    ),
];

#[test]
fn a_python_source_shows_what_it_needs() {
    for (source, expected) in PYTHON {
        assert_eq!(shown(Language::Python, source, &[]), *expected, "{source}");
    }
}

#[test]
fn packages_that_are_required_are_not_missing() {
    let python = "import yaml, PIL, google.cloud.storage, scikit_learn, other";
    let required = [
        "PyYAML",
        "Pillow[x]",
        "google-cloud-storage",
        "scikit.learn",
    ];
    assert_eq!(shown(Language::Python, python, &required), "packages=other");
    let typescript =
        "import { z } from 'zod'; import a from \"@types/node/x\"; import b from 'other/deep'";
    assert_eq!(
        shown(Language::TypeScript, typescript, &["zod", "@types/node"]),
        "packages=other"
    );
}

#[test]
fn a_typescript_source_shows_what_it_needs() {
    for (source, expected) in [
        ("export function f() { return 1 }", ""),
        (
            "await fetch('https://api.example.com/x')",
            "hosts=api.example.com network=fetch",
        ),
        (
            "await fetch(`https://${host}/x`); await fetch(`https://a.org/${x}`)",
            "hosts=(computed),a.org network=fetch",
        ),
        (
            "// https://docs.org\n/** https://docs.org */ const a = /x/.exec(b)",
            "",
        ),
        (
            "const a = process.env.A, b = process.env['B'], c = process.env[x]; const { D, E: e } = process.env",
            "variables=(computed),A,B,D,E",
        ),
        (
            "import fs from 'node:fs'; fs.readFileSync('/etc/passwd'); fs.writeFileSync(p, 'x')",
            "reads=/etc/passwd writes=(computed)",
        ),
        (
            "import { readFile } from 'fs/promises'; readFile(`/a`)",
            "reads=/a",
        ),
        (
            "const fs = require('fs'); fs.promises.rm('/b')",
            "writes=/b",
        ),
        (
            "import { exec, spawn as run } from 'child_process'; exec('ls -l'); x.exec('y')",
            "programs=ls",
        ),
        (
            "import axios from 'axios'; import https from 'https'",
            "network=axios,https packages=axios",
        ),
        ("eval('1'); new Function('x')", "unseen=Function,eval"),
        ("import { a } from './near'", ""),
    ] {
        assert_eq!(
            shown(Language::TypeScript, source, &[]),
            expected,
            "{source}"
        );
    }
}

#[test]
fn no_source_is_too_deep_or_too_odd() {
    let deep = format!("x = {}1{}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(shown(Language::Python, &deep, &[]).contains("unreadable"));
    for source in [
        "://",
        "'https://",
        "process.env",
        "import(",
        "`${",
        "{ = process.env",
        "} = process.env",
    ] {
        for language in [Language::Python, Language::TypeScript] {
            shown(language, source, &[]);
        }
    }
}
