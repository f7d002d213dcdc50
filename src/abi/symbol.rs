//! Whose name is it? Mangled C++ names (Itanium C++ ABI, section 5.1) sorted by the namespace that owns them.
//!
//! Only the outermost namespace of the entity itself counts, never that of a template argument or parameter:
//! `std::vector<v8::Local<v8::Value>>::push_back` belongs to the C++ library, not to V8.

/// The namespace that owns a symbol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// `v8`, `cppgc`, `v8_inspector`, `heap::base`: what V8 and its parts define.
    V8,
    /// `node`, and the C names of Node-API.
    Node,
    /// Everything else: C and C++ run-time libraries, ICU, and so on.
    Other,
}

/// Namespaces that V8's sources define in its libraries (`include/v8*.h`, `include/cppgc`, `include/v8-inspector.h`).
const V8_NAMESPACES: [&str; 4] = ["2v8", "5cppgc", "12v8_inspector", "4heap4base"];

/// Special-name prefixes that are followed by a type or a nested name (section 5.1.4: vtable, VTT, typeinfo, its
/// name, guard variable, TLS init and wrapper functions).
const SPECIAL: [&str; 7] = ["TV", "TT", "TI", "TS", "GV", "TH", "TW"];

/// Names of Node-API and of add-on registration that have C linkage (`node_api.h`, `js_native_api.h`, `node.h`).
const NODE_C_PREFIXES: [&str; 3] = ["napi_", "node_api_", "node_module_register"];

/// The namespace that owns the symbol of this (mangled, unversioned) name.
pub fn owner(name: &str) -> Owner {
    let Some(entity) = entity_of(name) else {
        return if NODE_C_PREFIXES.iter().any(|p| name.starts_with(p)) { Owner::Node } else { Owner::Other };
    };
    if V8_NAMESPACES.iter().any(|ns| entity.starts_with(ns)) {
        Owner::V8
    } else if entity.starts_with("4node") {
        Owner::Node
    } else {
        Owner::Other
    }
}

/// The nested name inside a mangled one, without the prefixes that say what kind of thing it is.
fn entity_of(name: &str) -> Option<&str> {
    let mut rest = name.strip_prefix("_Z")?;
    for special in SPECIAL {
        if let Some(after) = rest.strip_prefix(special) {
            rest = after;
            break;
        }
    }
    rest = strip_call_offset(rest);
    let nested = rest.strip_prefix('N')?;
    Some(nested.trim_start_matches(['r', 'V', 'K', 'R', 'O']))
}

/// Removes the call-offsets of thunks: `Th <n> _`, `Tv <n> _ <n> _`, `Tc` followed by two of them.
fn strip_call_offset(name: &str) -> &str {
    let after_offset = |text: &'_ str, numbers: usize| -> Option<usize> {
        let mut at = 0;
        for _ in 0..numbers {
            let digits = text[at..].find('_')?;
            let number = text[at..at + digits].trim_start_matches('n');
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            at += digits + 1;
        }
        Some(at)
    };
    for (prefix, numbers) in [("Th", 1), ("Tv", 2)] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return after_offset(rest, numbers).map_or(name, |at| &rest[at..]);
        }
    }
    if let Some(rest) = name.strip_prefix("Tc") {
        let inner = strip_call_offset_of_covariant(rest);
        return inner.unwrap_or(name);
    }
    name
}

/// The part after both call-offsets of a covariant-return thunk, each written `h <n> _` or `v <n> _ <n> _`.
fn strip_call_offset_of_covariant(mut rest: &str) -> Option<&str> {
    for _ in 0..2 {
        let numbers = match rest.bytes().next()? {
            b'h' => 1,
            b'v' => 2,
            _ => return None,
        };
        rest = &rest[1..];
        for _ in 0..numbers {
            rest = rest.split_once('_')?.1;
        }
    }
    Some(rest)
}

/// Sonames of C and C++ run-time libraries, up to ".so": the guest uses those that the process uses.
const RUN_TIME: [&str; 20] = [
    "ld-linux-x86-64",
    "ld-linux-aarch64",
    "libc",
    "libm",
    "libmvec",
    "libdl",
    "libpthread",
    "librt",
    "libutil",
    "libresolv",
    "libanl",
    "libgcc_s",
    "libstdc++",
    "libatomic",
    "libc++",
    "libc++abi",
    "libunwind",
    "libasan",
    "libtsan",
    "libubsan",
];

/// Whether a library (its `DT_NEEDED` or soname) is one of the C and C++ run-time libraries.
pub fn is_run_time(library: &str) -> bool {
    library.split_once(".so").is_some_and(|(stem, _)| RUN_TIME.contains(&stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v8_names_of_every_kind() {
        for name in [
            "_ZN2v87Isolate10GetCurrentEv",
            "_ZNK2v85Value6IsDateEv",
            "_ZNKR2v85Value6IsDateEv",
            "_ZTVN2v817TracingControllerE",
            "_ZTIN2v88PlatformE",
            "_ZGVN2v88internal3fooE",
            "_ZThn16_N2v86Worker3runEv",
            "_ZTv0_n24_N2v86Worker3runEv",
            "_ZTchn8_h16_N2v86Worker5cloneEv",
            "_ZN5cppgc17InitializeProcessEPNS_13PageAllocatorE",
            "_ZN12v8_inspector11V8Inspector6createEPN2v87IsolateEPNS_17V8InspectorClientE",
            "_ZN4heap4base5Stack4funcEv",
        ] {
            assert_eq!(owner(name), Owner::V8, "{name}");
        }
    }

    #[test]
    fn names_that_only_mention_v8_are_not_its_own() {
        for name in [
            "_ZNSt6vectorIN2v85LocalINS0_5ValueEEESaIS3_EE9push_backERKS3_",
            "_ZN3foo2v83barEv",
            "_Z3runN2v85LocalINS_5ValueEEE",
            "_ZTSPFvRKN2v820FunctionCallbackInfoINS_5ValueEEEE",
            "v8dbg_TaggedSize",
            "memcpy",
            "",
            "_Z",
            "_ZTh",
            "_ZTc",
        ] {
            assert_eq!(owner(name), Owner::Other, "{name}");
        }
    }

    #[test]
    fn node_names() {
        assert_eq!(owner("_ZN4node4StopEPNS_11EnvironmentE"), Owner::Node);
        assert_eq!(owner("napi_create_object"), Owner::Node);
        assert_eq!(owner("node_module_register"), Owner::Node);
    }

    #[test]
    fn run_time_libraries_by_their_stem() {
        for name in ["libc.so.6", "ld-linux-x86-64.so.2", "libstdc++.so.6", "libgcc_s.so.1"] {
            assert!(is_run_time(name), "{name}");
        }
        for name in ["libcrypto.so.3", "libcares.so.2", "libc", "libuv.so.1", "libicudata.so.72"] {
            assert!(!is_run_time(name), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(name in ".{0,60}") { owner(&name); }
        #[test]
        fn any_mangled_looking_text_is_survived(tail in "(T[hvcVI])?[hvnN0-9_KR]{0,12}[a-z0-9]{0,9}") { owner(&format!("_Z{tail}")); }
    }
}
