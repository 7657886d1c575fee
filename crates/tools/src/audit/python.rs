//! What a Python source appears to need.

use std::collections::HashMap;

use ruff_python_ast::{
    Arguments, CmpOp, Expr, ExprCall, ExprCompare, FStringPart, InterpolatedStringElement,
    Operator, Stmt, StmtAssign, StmtImport, StmtImportFrom,
    visitor::{self, Visitor},
};

use super::{COMPUTED, Needs, known};
use crate::schema::with_python;

/// Calls whose first argument names a file that is read or asked about.
const READS: &str = "os.listdir os.walk os.scandir os.stat os.access os.readlink os.path.exists os.path.isfile \
    os.path.isdir os.path.getsize os.path.getmtime os.chdir glob.glob glob.iglob pathlib.Path pathlib.PosixPath \
    numpy.load numpy.loadtxt PIL.Image.open zipfile.ZipFile tarfile.open configparser.ConfigParser.read \
    linecache.getline";
/// Calls whose first argument names a file that is changed.
const WRITES: &str = "os.remove os.unlink os.rename os.replace os.makedirs os.mkdir os.rmdir os.removedirs os.chmod \
    os.chown os.link os.symlink os.truncate shutil.rmtree sqlite3.connect shelve.open dbm.open numpy.save";
/// Calls that copy or move from the first to the second.
const COPIES: &str = "shutil.copy shutil.copy2 shutil.copyfile shutil.copytree shutil.move";
/// Calls that open a file as a mode says.
const OPENS: &str =
    "open io.open codecs.open os.open gzip.open bz2.open lzma.open aiofiles.open builtins.open";
/// Calls that read a variable.
const VARIABLES: &str =
    "os.getenv os.environ.get os.environ.pop os.environ.setdefault os.environb.get os.putenv";
/// Calls that start a program.
const PROGRAMS: &str = "subprocess.run subprocess.call subprocess.check_call subprocess.check_output \
    subprocess.Popen subprocess.getoutput subprocess.getstatusoutput os.system os.popen os.execv os.execve os.execvp \
    os.execl os.execlp os.spawnl os.spawnv os.posix_spawn asyncio.create_subprocess_exec \
    asyncio.create_subprocess_shell pty.spawn";
/// Calls whose first argument is a host.
const HOSTS: &str = "smtplib.SMTP smtplib.SMTP_SSL ftplib.FTP ftplib.FTP_TLS imaplib.IMAP4 imaplib.IMAP4_SSL \
    poplib.POP3 poplib.POP3_SSL http.client.HTTPConnection http.client.HTTPSConnection telnetlib.Telnet \
    socket.gethostbyname socket.getaddrinfo";
/// Calls that run code that is not there to be read.
const UNSEEN: &str = "eval exec compile __import__ importlib.import_module runpy.run_path runpy.run_module \
    ctypes.CDLL ctypes.cdll.LoadLibrary pickle.loads pickle.load marshal.loads";

/// What of a path's methods changes the file.
const PATH_WRITES: &str =
    "write_text write_bytes touch mkdir rmdir unlink rename replace chmod symlink_to hardlink_to";
/// Names that a first argument may have.
const FIRST: [&str; 7] = ["file", "path", "filename", "name", "src", "key", "top"];
/// What `from os import *` and the like bring is what these lists know of a module.
const KNOWN: [&str; 9] = [
    READS,
    WRITES,
    COPIES,
    OPENS,
    VARIABLES,
    PROGRAMS,
    HOSTS,
    UNSEEN,
    ENVIRONMENT,
];
/// All variables at once.
const ENVIRONMENT: &str = "os.environ os.environb";

pub(super) fn audit(source: &str, requirements: &[&str]) -> Needs {
    let read = with_python(source, |suite| {
        let mut imports = Imports::default();
        imports.visit_body(suite);
        let mut reader = Reader {
            needs: Needs::default(),
            names: imports.names,
            paths: HashMap::new(),
        };
        reader.imports(&imports.paths, requirements);
        reader.visit_body(suite);
        reader.needs
    });
    read.unwrap_or_else(|error| Needs {
        unreadable: Some(error.to_string()),
        ..Needs::default()
    })
}

fn is_one(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|known| known == name)
}

/// What is imported, and under which names.
#[derive(Default)]
struct Imports {
    /// Dotted paths.
    paths: Vec<String>,
    names: HashMap<String, String>,
}

impl Imports {
    fn plain(&mut self, import: &StmtImport) {
        for alias in &import.names {
            let path = alias.name.as_str();
            self.paths.push(path.to_owned());
            let first = path.split('.').next().unwrap_or_default();
            let (name, meant) = match &alias.asname {
                Some(name) => (name.as_str(), path),
                None => (first, first),
            };
            self.names.insert(name.to_owned(), meant.to_owned());
        }
    }

    fn from(&mut self, import: &StmtImportFrom) {
        let Some(module) = import.module.as_ref().filter(|_| import.level == 0) else {
            return;
        };
        for alias in &import.names {
            if alias.name.as_str() == "*" {
                self.paths.push(module.to_string());
                self.everything(module);
                continue;
            }
            let path = format!("{module}.{}", alias.name);
            let name = alias.asname.as_ref().unwrap_or(&alias.name);
            self.paths.push(path.clone());
            self.names.insert(name.to_string(), path);
        }
    }
}

impl Imports {
    fn everything(&mut self, module: &str) {
        let words = KNOWN.iter().flat_map(|list| list.split_whitespace());
        for word in words {
            let below = word
                .strip_prefix(module)
                .and_then(|rest| rest.strip_prefix('.'));
            if let Some(name) = below.and_then(|rest| rest.split('.').next()) {
                self.names
                    .insert(name.to_owned(), format!("{module}.{name}"));
            }
        }
    }
}

impl<'a> Visitor<'a> for Imports {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Import(import) => self.plain(import),
            Stmt::ImportFrom(import) => self.from(import),
            other => visitor::walk_stmt(self, other),
        }
    }

    fn visit_expr(&mut self, _: &'a Expr) {}
}

struct Reader {
    needs: Needs,
    /// Names of the source, and the paths of modules that they stand for.
    names: HashMap<String, String>,
    /// Variables that are paths of files, and which.
    paths: HashMap<String, String>,
}

impl Reader {
    fn imports(&mut self, paths: &[String], requirements: &[&str]) {
        let required: Vec<String> = requirements
            .iter()
            .map(|name| known::normal(name))
            .collect();
        for path in paths {
            if let Some(library) = known::python_network(path) {
                self.needs.network.insert(library.to_owned());
            }
            let module = path.split('.').next().unwrap_or_default();
            let package = known::python_package(module);
            let is_there = known::is_python_module(module)
                || required.contains(&package)
                || required.contains(&known::normal(module))
                // google.cloud.storage comes with google-cloud-storage.
                || required.iter().any(|name| name.starts_with(&format!("{}-", known::normal(module))));
            if !is_there {
                self.needs.packages.insert(package);
            }
        }
    }

    /// The dotted path of a function or value, its first name being what it was imported as.
    fn path(&self, expression: &Expr) -> Option<String> {
        match expression {
            Expr::Name(name) => {
                let name = name.id.as_str();
                Some(
                    self.names
                        .get(name)
                        .cloned()
                        .unwrap_or_else(|| name.to_owned()),
                )
            }
            Expr::Attribute(attribute) => {
                let value = self.path(&attribute.value)?;
                Some(format!("{value}.{}", attribute.attr))
            }
            _ => None,
        }
    }

    fn call(&mut self, call: &ExprCall) {
        let Some(path) = self.path(&call.func) else {
            return;
        };
        let arguments = &call.arguments;
        let first = first(arguments);
        match path.as_str() {
            _ if is_one(OPENS, &path) => {
                let files = if writes(arguments) {
                    &mut self.needs.writes
                } else {
                    &mut self.needs.reads
                };
                files.insert(first);
            }
            _ if is_one(READS, &path) || path.starts_with("pandas.read_") => {
                // Most paths are put together from others, which are noted where they are made.
                let is_pathlib = path.starts_with("pathlib.");
                if first != COMPUTED || !is_pathlib {
                    self.file_or_address(first);
                }
            }
            _ if is_one(WRITES, &path) => _ = self.needs.writes.insert(first),
            _ if is_one(COPIES, &path) => {
                self.needs.reads.insert(first);
                let second = arguments
                    .args
                    .get(1)
                    .map_or_else(|| COMPUTED.to_owned(), named);
                self.needs.writes.insert(second);
            }
            _ if is_one(VARIABLES, &path) => _ = self.needs.variables.insert(first),
            _ if is_one(PROGRAMS, &path) => {
                let program = arguments
                    .args
                    .first()
                    .or_else(|| keyword(arguments, "args"));
                self.needs
                    .programs
                    .insert(program.map_or_else(|| COMPUTED.to_owned(), program_of));
            }
            _ if is_one(HOSTS, &path) => {
                let host = arguments
                    .args
                    .first()
                    .or_else(|| keyword(arguments, "host"));
                self.needs
                    .host(&host.map_or_else(|| "{}".to_owned(), text_or_hole));
            }
            "socket.create_connection" => self.endpoint(arguments),
            _ if path.ends_with(".connect") && self.needs.network.contains("socket") => {
                self.endpoint(arguments);
            }
            _ if is_one(UNSEEN, &path) => _ = self.needs.unseen.insert(path),
            _ => {}
        }
    }

    /// The file of a path's method that changes it, of a path that was just made or that a variable has.
    fn changed_path(&self, call: &ExprCall) -> Option<String> {
        let Expr::Attribute(method) = call.func.as_ref() else {
            return None;
        };
        let mode = call.arguments.args.first();
        let is_change = match method.attr.as_str() {
            "open" => mode
                .or_else(|| keyword(&call.arguments, "mode"))
                .and_then(text)
                .is_some_and(|mode| is_changing(&mode)),
            name => is_one(PATH_WRITES, name),
        };
        is_change.then(|| self.file_of(&method.value)).flatten()
    }

    /// The file of `Path("...")`, or of a variable that is one.
    fn file_of(&self, expression: &Expr) -> Option<String> {
        match expression {
            Expr::Name(name) => self.paths.get(name.id.as_str()).cloned(),
            Expr::Call(made) => {
                let path = self.path(&made.func)?;
                matches!(path.as_str(), "pathlib.Path" | "pathlib.PosixPath")
                    .then(|| first(&made.arguments))
            }
            _ => None,
        }
    }

    fn assigned(&mut self, statement: &StmtAssign) {
        if let [Expr::Name(name)] = statement.targets.as_slice()
            && let Some(file) = self.file_of(&statement.value)
        {
            self.paths.insert(name.id.to_string(), file);
        }
    }

    fn is_environment(&self, expression: &Expr) -> bool {
        self.path(expression)
            .is_some_and(|path| is_one(ENVIRONMENT, &path))
    }

    /// Whether a variable is there: `"NAME" in os.environ`.
    fn asks_for_variable(&self, compared: &ExprCompare) -> Option<String> {
        let is_in = matches!(compared.ops.as_ref(), [CmpOp::In | CmpOp::NotIn]);
        let [within] = compared.comparators.as_ref() else {
            return None;
        };
        (is_in && self.is_environment(within)).then(|| named(&compared.left))
    }

    /// A file, or an address from which a library fetches it.
    fn file_or_address(&mut self, name: String) {
        if name.contains("://") {
            self.needs.addresses(&name);
        } else {
            self.needs.reads.insert(name);
        }
    }

    /// The host of an argument that is a host and a port.
    fn endpoint(&mut self, arguments: &Arguments) {
        if let Some(Expr::Tuple(pair)) = arguments.args.first()
            && let Some(host) = pair.elts.first()
        {
            self.needs.host(&text_or_hole(host));
        }
    }
}

impl<'a> Visitor<'a> for Reader {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        // A text that stands alone is a docstring.
        let is_text =
            matches!(statement, Stmt::Expr(alone) if alone.value.is_string_literal_expr());
        if let Stmt::Assign(assign) = statement {
            self.assigned(assign);
        }
        if !is_text {
            visitor::walk_stmt(self, statement);
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Call(call) => {
                self.call(call);
                if let Some(file) = self.changed_path(call) {
                    self.needs.writes.insert(file);
                }
                // Of the environment one variable was asked for, and not all.
                let path = self.path(&call.func);
                if path.is_some_and(|path| is_one(VARIABLES, &path)) {
                    return self.visit_arguments(&call.arguments);
                }
            }
            Expr::Subscript(subscript) if self.is_environment(&subscript.value) => {
                self.needs.variables.insert(named(&subscript.slice));
                return self.visit_expr(&subscript.slice);
            }
            Expr::Compare(compared) => {
                if let Some(name) = self.asks_for_variable(compared) {
                    self.needs.variables.insert(name);
                    return;
                }
            }
            _ if self.is_environment(expression) => {
                self.needs.variables.insert(COMPUTED.to_owned());
            }
            Expr::StringLiteral(_) | Expr::FString(_) => {
                if let Some(text) = text(expression) {
                    self.needs.addresses(&text);
                }
                // The pieces of a text were looked at together.
                if matches!(expression, Expr::StringLiteral(_)) {
                    return;
                }
            }
            _ => {}
        }
        visitor::walk_expr(self, expression);
    }
}

/// A text, in which `{}` stands for what is computed; none for what is no text.
fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::StringLiteral(literal) => Some(literal.value.to_str().to_owned()),
        Expr::FString(formatted) => {
            let mut text = String::new();
            for part in &formatted.value {
                match part {
                    FStringPart::Literal(literal) => text.push_str(&literal.value),
                    FStringPart::FString(inner) => {
                        for element in &inner.elements {
                            match element {
                                InterpolatedStringElement::Literal(literal) => {
                                    text.push_str(&literal.value)
                                }
                                InterpolatedStringElement::Interpolation(_) => text.push_str("{}"),
                            }
                        }
                    }
                }
            }
            Some(text)
        }
        Expr::BinOp(sum) if sum.op == Operator::Add => {
            Some(format!("{}{}", text(&sum.left)?, text_or_hole(&sum.right)))
        }
        _ => None,
    }
}

fn text_or_hole(expression: &Expr) -> String {
    text(expression).unwrap_or_else(|| "{}".to_owned())
}

/// A name as it is written; what begins with something computed is computed.
fn named(expression: &Expr) -> String {
    match text(expression) {
        Some(text) if !text.is_empty() && !text.starts_with("{}") => text,
        _ => COMPUTED.to_owned(),
    }
}

fn keyword<'a>(arguments: &'a Arguments, name: &str) -> Option<&'a Expr> {
    let named = |keyword: &&ruff_python_ast::Keyword| {
        keyword
            .arg
            .as_ref()
            .is_some_and(|known| known.as_str() == name)
    };
    arguments
        .keywords
        .iter()
        .find(named)
        .map(|keyword| &keyword.value)
}

/// The first argument as it is written, also where it is given by its name.
fn first(arguments: &Arguments) -> String {
    let by_name = || FIRST.iter().find_map(|name| keyword(arguments, name));
    let first = arguments.args.first().or_else(by_name);
    first.map_or_else(|| COMPUTED.to_owned(), named)
}

/// Whether a file is opened to be changed.
fn writes(arguments: &Arguments) -> bool {
    let mode = arguments.args.get(1).or_else(|| keyword(arguments, "mode"));
    mode.and_then(text).is_some_and(|mode| is_changing(&mode))
}

fn is_changing(mode: &str) -> bool {
    mode.contains(['w', 'a', 'x', '+'])
}

/// The program of a command line or a list of words.
fn program_of(expression: &Expr) -> String {
    let first = match expression {
        Expr::List(words) => words.elts.first(),
        Expr::Tuple(words) => words.elts.first(),
        other => Some(other),
    };
    let line = first.map_or_else(|| COMPUTED.to_owned(), named);
    if line == COMPUTED {
        return line;
    }
    line.split_whitespace()
        .next()
        .unwrap_or(COMPUTED)
        .to_owned()
}
