//! What belongs to the languages themselves, and what reaches out of them.

/// Modules of Python's standard library.
const PYTHON_MODULES: &str = "__future__ abc aifc argparse array ast asyncio atexit audioop base64 bdb binascii \
    bisect builtins bz2 calendar cgi cgitb chunk cmath cmd code codecs codeop collections colorsys compileall \
    compression concurrent configparser contextlib contextvars copy copyreg cProfile crypt csv ctypes curses \
    dataclasses datetime dbm decimal difflib dis distutils doctest email encodings ensurepip enum errno \
    faulthandler fcntl filecmp fileinput fnmatch fractions ftplib functools gc genericpath getopt getpass gettext \
    glob graphlib grp gzip hashlib heapq hmac html http idlelib imaplib imghdr imp importlib inspect io ipaddress \
    itertools json keyword lib2to3 linecache locale logging lzma mailbox mailcap marshal math mimetypes mmap \
    modulefinder multiprocessing netrc nntplib ntpath numbers opcode operator optparse os ossaudiodev pathlib pdb \
    pickle pickletools pipes pkgutil platform plistlib poplib posix posixpath pprint profile pstats pty pwd \
    py_compile pyclbr pydoc queue quopri random re readline reprlib resource rlcompleter runpy sched secrets \
    select selectors shelve shlex shutil signal site smtplib sndhdr socket socketserver spwd sqlite3 ssl stat \
    statistics string stringprep struct subprocess sunau symtable sys sysconfig syslog tabnanny tarfile telnetlib \
    tempfile termios test textwrap threading time timeit tkinter token tokenize tomllib trace traceback \
    tracemalloc tty turtle types typing unicodedata unittest urllib uu uuid venv warnings wave weakref \
    webbrowser wsgiref xdrlib xml xmlrpc zipapp zipfile zipimport zlib zoneinfo";

/// Modules whose use of the network is what they are for.
const PYTHON_NETWORK: &str = "requests httpx aiohttp urllib3 urllib.request http.client socket websockets websocket \
    ftplib smtplib imaplib poplib telnetlib nntplib xmlrpc.client paramiko boto3 botocore pycurl grpc redis pymongo \
    psycopg psycopg2 asyncpg pymysql mysql openai anthropic slack_sdk tweepy praw googleapiclient twilio stripe \
    elasticsearch qdrant_client pinecone wikipedia yfinance tavily exa_py serpapi duckduckgo_search playwright selenium \
    aiosmtplib asyncssh kafka pika nats discord telegram github notion_client";

/// Names under which packages are imported, where their own name is another.
const PYTHON_PACKAGES: [(&str, &str); 30] = [
    ("attr", "attrs"),
    ("bs4", "beautifulsoup4"),
    ("Crypto", "pycryptodome"),
    ("cv2", "opencv-python"),
    ("dateutil", "python-dateutil"),
    ("discord", "discord-py"),
    ("docx", "python-docx"),
    ("dotenv", "python-dotenv"),
    ("exa_py", "exa-py"),
    ("fitz", "pymupdf"),
    ("git", "gitpython"),
    ("github", "pygithub"),
    ("googleapiclient", "google-api-python-client"),
    ("jose", "python-jose"),
    ("jwt", "pyjwt"),
    ("kafka", "kafka-python"),
    ("magic", "python-magic"),
    ("MySQLdb", "mysqlclient"),
    ("nats", "nats-py"),
    ("PIL", "pillow"),
    ("pptx", "python-pptx"),
    ("psycopg2", "psycopg2-binary"),
    ("serial", "pyserial"),
    ("skimage", "scikit-image"),
    ("sklearn", "scikit-learn"),
    ("slugify", "python-slugify"),
    ("tavily", "tavily-python"),
    ("telegram", "python-telegram-bot"),
    ("websocket", "websocket-client"),
    ("yaml", "pyyaml"),
];

/// Modules of Node itself.
const NODE_MODULES: &str = "assert async_hooks buffer child_process cluster console constants crypto dgram \
    diagnostics_channel dns domain events fs http http2 https inspector module net os path perf_hooks process \
    punycode querystring readline repl sea sqlite stream string_decoder sys test timers tls trace_events tty url \
    util v8 vm wasi worker_threads zlib";

/// Those, and packages, that reach the network.
const NODE_NETWORK: &str = "dgram dns http http2 https net tls axios got node-fetch undici ws superagent request ky \
    nodemailer ioredis redis pg mysql2 mongodb openai @anthropic-ai/sdk socket.io-client";

fn holds(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|known| known == name)
}

/// Whether a module comes with Python.
pub(super) fn is_python_module(name: &str) -> bool {
    holds(PYTHON_MODULES, name) || name.starts_with('_')
}

/// The network library that an imported path is or belongs to.
pub(super) fn python_network(path: &str) -> Option<&'static str> {
    let belongs = |known: &&str| {
        path == *known
            || path
                .strip_prefix(known)
                .is_some_and(|rest| rest.starts_with('.'))
    };
    PYTHON_NETWORK.split_whitespace().find(belongs)
}

/// The name of the package that brings a module, in the form in which names are compared.
pub(super) fn python_package(module: &str) -> String {
    let named = PYTHON_PACKAGES.iter().find(|(import, _)| *import == module);
    normal(named.map_or(module, |(_, package)| package))
}

/// A package's name without what makes no difference (PEP 503), and without extras.
pub(super) fn normal(name: &str) -> String {
    let name = name
        .split('[')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// Whether a module comes with Node.
pub(super) fn is_node_module(name: &str) -> bool {
    holds(NODE_MODULES, name)
}

/// Whether a module or package reaches the network.
pub(super) fn is_node_network(name: &str) -> bool {
    holds(NODE_NETWORK, name)
}
