//! The codes of everything that can go wrong, in one table: in the loader, the kit, the command and the plugin.
//!
//! Each code is a constant; what fails names it by that constant, so a code without an entry does not compile. The tables of
//! docs/DIAGNOSTICS.md are made of this one: `UPDATE_DIAGNOSTICS=1 cargo test --release --test diagnostics` writes them, and without
//! the variable the test fails where they differ, and where a code is used nowhere. A code is never used again for another meaning.

/// An entry of the table. The texts are Markdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// As users see it, `E0101`. The first two digits are its group.
    pub name: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// What cures it.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($($name:ident: $meaning:literal, $remedy:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = stringify!($name);)*

        /// All codes, in order.
        pub const ALL: &[Code] = &[$(Code { name: $name, meaning: $meaning, remedy: $remedy }),*];
    };
}

codes! {
    // E01xx: what was asked for
    E0101: "a `RELINK_*` variable is missing or unusable",
        r#"the message names it; docs in README.md, "Configuration""#;
    E0102: "the script cannot be read",
        "name a readable JavaScript file in `RELINK_SCRIPT`";
    E0103: "`/proc/self/maps` cannot be read",
        "mount `/proc` in the container or jail";
    E0104: "the report cannot be written",
        "name a file in a folder that can be written in `RELINK_REPORT`";

    // E02xx: the host
    E0201: "no module of the process defines V8's symbols",
        "it has no V8, or the names of its V8 were stripped: take a build that has them, in `.dynsym` or `.symtab`";
    E0202: "several modules define V8",
        "name one by a part of its path in `RELINK_PROVIDER`";
    E0203: "V8 was not initialised in time",
        "the host starts V8 later: raise `RELINK_WAIT_MS` (default 60000)";
    E0204: "the module with V8 is malformed",
        "the message names the structure and address; report it with the file";
    E0205: "a needed fact about V8 cannot be found",
        "this V8 is unknown to Relink: see docs/LIMITATIONS.md";
    E0206: "the host called exit() before Node was brought in",
        "a host this short-lived has no time for a guest; if it is none, raise `RELINK_LOG` to `debug` to see how far it came";

    E0211: "the process was forked from the one that Node is in; every function of relink.h answers it (`RELINK_FORKED`) at once",
        "threads do not survive fork(2): create the runtime after `fork()` or `daemon()`. `exit()` of such a child is as without Relink";
    E0212: "the lock of ld.so is held: the call comes from a library's constructor or destructor, within `dlopen()` or `dlclose()` (or another thread is in such a one for long), and Node's threads would wait for it",
        "create the runtime when `dlopen()` has returned (or `relink_start()`, which does not wait), destroy it before `dlclose()`";
    E0213: "two librelink.so from two files are in the process, and the other one has brought Node in",
        "load one of them, by one path";
    E0214: "V8 was initialised before the process was forked: V8 keeps its heap from children, so the host's own isolates are not in it either",
        "initialise V8 after `fork()` or `daemon()`";

    // E03xx: the guest's file
    E0301: "cannot be opened, or is no regular file",
        "`relink guest path` prints where the built guest lies";
    E0302: "not an ELF file",
        "as above; the message shows the first bytes found";
    E0303: "ELF of another class, byte order, type or machine",
        "build the guest on this machine";
    E0304: "truncated",
        "the file is incomplete: `relink guest build --rebuild`";
    E0305: "malformed",
        "as above; the message names the structure and its link-time address";
    E0306: "has no Relink note, so its V8 is unknown",
        "build it with `relink guest build`";
    E0307: "has a V8 of its own, of a line for which Relink has no list of the names that Node means it by",
        "build a guest without V8";
    E0308: "a library that the guest needs is neither beside it nor where ld.so looks",
        "install it, or put it beside the guest";
    E0309: "an add-on's file (`process.dlopen`) is cut or malformed; in JavaScript an `ERR_DLOPEN_FAILED`",
        "install the package anew";

    // E04xx: host and guest do not fit
    E0401: "the inlined V8 ABIs differ, or are not known to be identical",
        "`relink check` lists every fact that differs and what would cure it";
    E0402: "the host's V8 lacks symbols and no adapter stands in",
        "the message names them; another guest or host version";
    E0403: "a slot of a kind without a binding rule",
        "report it with the guest";
    E0404: "names that neither the guest, nor its libraries, nor a run-time library have",
        "the message names them and the library they are asked of: install the version of it that the guest was linked with";
    E0405: "an add-on needs names that neither the host's V8 nor the guest has; in JavaScript an `ERR_DLOPEN_FAILED`",
        "the message names them: install the add-on's version for this Node";
    E0406: "guest and host fit by all that the catalogue knows, but the bridge does not serve their V8",
        "a guest and a host of a line that docs/LIMITATIONS.md lists";
    E0407: "a neutral guest fits the host by adapters that have not been built",
        "the message has the command, `relink adapter build`; `RELINK_ADAPTERS` names the folder where they are";
    E0408: "an add-on uses V8 itself, in a neutral guest on another V8; in JavaScript an `ERR_DLOPEN_FAILED`",
        "an add-on of Node-API, or a guest of the host's line";
    E0410: "the live probe saw that the host's V8 is not as the guest's inlined code believes (docs/ABI.md)",
        "the message names each check with both values: this V8 is patched, so a guest must be built with its own headers";
    E0411: "`RELINK_PROBE=always`, and the host's V8 cannot be observed, or not to the end",
        "the message says why, and where the observer stopped; `RELINK_PROBE=auto` judges such a host by the catalogue alone";
    E0412: "Node in an isolate of the host's was asked for, which is there for V8 10.2 and a guest compiled for it",
        "a guest with an isolate of its own (`RELINK_OWN_THREAD`, `RELINK_TICKED`)";
    E0413: "nothing in the host's file tells how many bits its V8's small integers have (a V8 without pointer compression and without data for debuggers), and the live probe did not see it: it is switched off, or the host cannot be observed",
        "`RELINK_PROBE=auto`; the message says why the probe saw nothing";

    // E05xx: loading and writing
    E0501: "ld.so could not load the guest's private copy",
        "the message is ld.so's; often a missing library: ICU lies beside a built guest";
    E0502: "a slot did not hold what the file says; nothing was changed",
        "report it";
    E0503: "a write failed; every change was taken back and the images were unloaded",
        "the message has the system's reason (a security policy against `mprotect`, for one)";
    E0504: "a write failed and so did taking it back",
        "the images stay loaded and are never entered; report it";
    E0505: "the process may not reserve a GiB of addresses, which Node and an isolate take; V8 would end the process",
        "raise the limit of its address space (`ulimit -v`, `RLIMIT_AS`); Workers take more";
    E0506: "an initialiser of an image did not return: it called `exit()` or `abort()`, or threw",
        "the message names the image and how it ended; the images stay loaded, and the host goes on";

    // E06xx: starting Node
    E0601: "the platform bridge was refused",
        "the message has the reason";
    E0602: "an image lacks a symbol that Relink needs",
        "guest, library and command are of different versions: rebuild";
    E0603: "Node did not start",
        "the message is Node's";
    E0604: "the guest cannot be unloaded, for threads of it are still alive",
        "it stays loaded, idle; another can only come in another process";
    E0605: "Node has ended in an isolate of the host's, whose heap refers to the guest's code: callbacks of functions, external strings, memory of array buffers",
        "nothing: that is how a shared guest ends; another can only come in another process";
    E0606: "the guest cannot be unloaded, for a destructor of it or of an add-on ended in `abort()` or `exit()`, or has not returned for 30 s",
        "it stays loaded, idle, as above; the add-on is the one to be cured";
    E0607: "other runtimes are in the process, and this one asks for another guest, other options of Node's, another `cwd`, or an isolate of the host's that their guest was not bound for",
        "ask for the same, or destroy them first; the message says what differs";
    E0610: "a function of the core that loads `librelink_loader.so` is missing",
        "the message names it: the core must be MetaCall's 0.9 or speak its interface, and be loaded before the loader";
    E0611: "another runtime is being made, or taken out, and has not come to an end in time",
        "try again later; a guest whose initialiser never returns keeps the place for ever";

    // E07xx: the kit (`relink guest`, `relink host`, `relink parity`)
    E0701: "a file or folder of the cache cannot be read or written",
        "make room, or set `RELINK_CACHE` to a folder of yours";
    E0702: "no place for the cache folder is known, or its path cannot be used in a build",
        "set `RELINK_CACHE` to an absolute path without blanks";
    E0703: "programs that the step needs are not installed",
        "the message has the one command that installs them";
    E0704: "a program that was started failed",
        "the message quotes its error and names the log";
    E0705: "no Debian archive (bookworm) among the machine's apt sources, or no apt",
        "add one, or name a Node source with `--source`";
    E0706: "apt offers no version of a package, or none that can be downloaded",
        "`apt-get update` with a working mirror";
    E0707: "an npm package could not be fetched, or is not what npm says it is",
        "check the npm client's settings";
    E0708: "a folder or program given is not what it should be",
        "the message says what is missing in it";
    E0709: "a patch of the source package does not apply, or a source has not the text that is replaced in it",
        "`--rebuild` starts from fresh sources";
    E0710: "compiling failed",
        "the message has the first compiler error and the log; with `--v8-headers`, that V8 is too far from this Node";
    E0711: "the built library does not meet the requirements on a guest",
        "report it with the log";
    E0712: "not built or fetched yet",
        "the message has the command that does it";
    E0713: "interrupted by a signal",
        "run it again: what was done is kept";
    E0714: "what was asked for is not known or not supported: a guest, host, suite or adapter of this name, headers that contradict what is known of their V8, this machine",
        "the message lists the names that there are, or says what contradicts what; of machines, x86-64 Linux with glibc is supported";
    E0715: "V8's headers have something for which the neutral guest has no rule",
        "the message names file, line and text; a rule goes into src/kit/neutral (docs/ABI.md), or build with `--exact`";
    E0716: "a part is not in the cache, and `RELINK_OFFLINE` forbids to fetch it",
        "the message names the part: run the same once without `RELINK_OFFLINE` and with a network";

    // E08xx: the command
    E0801: "the host program cannot be started, or is statically linked",
        "the message has the reason";
    E0802: "librelink.so or relink-node is not where it should be, or where ld.so cannot preload it from",
        "`cargo build --release --workspace`, or name it with `--library`";
    E0803: "the demo did not show what it should",
        "report it with the output";
    E0804: "relinked Node and plain Node differ in tests of Node's own that nothing explains",
        "the table names them; explain them in fixtures/parity/known.json or fix the cause";
    E0805: "`relink explain`: no slot refers to the symbol",
        "look the name up in `relink plan`";
    E0806: "`relink matrix`: a pair failed, could not be run, or is not what `relink check` says of it",
        "the message names each pair with its reason";
    E0807: "`relink plugin install`: the folder cannot be laid out",
        "name the game's folder (the one with `addons`), as a user who may write there";
    E0808: "`relink parity` of a line that needs another V8 than the one that is fetched by default",
        "`--v8 FILE`, or `--inside node`";
    E0810: "a file or process cannot be inspected: no such, no ELF file that Relink can read, or not yours",
        "name an ELF file or the number of a process; another user's process needs their rights";

    // E09xx
    E0901: "an error of Relink's own code",
        "report it";

    // E10xx: the plugin for Metamod:Source
    E1001: "no relink.json beside the library or up to two folders above it",
        "`relink plugin install GAME-FOLDER`";
    E1002: "relink.json cannot be used",
        "the message names the setting or the place in the text; docs/GAME-SERVERS.md lists all";
    E1003: r#"relink.json says `"enabled": false`"#,
        "change it, then `meta load` again";
    E1004: "Metamod takes plugins of other interfaces than 17 and 18",
        "a Metamod:Source 2.0, with SourceHook (17) or with KHook (18)";
    E1005: "the game's frames cannot be hooked, so Node gets a thread of its own: unknown engine, neither SourceHook 5 nor KHook, no such interface or function, a refused hook",
        r#"`"frame"` with the facts of this game; with `"run": "thread"` it is not tried"#;
    E1006: "what is asked for cannot be done now: loaded already, paused, not running",
        "the message has the state";
}
