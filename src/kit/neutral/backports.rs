//! Lines of later Nodes that a neutral Node of an earlier line needs: Node's own answers to changes of V8's behaviour that no
//! adapter sees. Each must find its text, or the source is not the one that it was made for.

use super::edits::Edit;
use crate::cache::hex;
use crate::error::{io, KitError, Result};
use relink_abi::note::SYMBOL_KEYS;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// Until V8 12 an exception that JavaScript had thrown was kept apart until the callback of C++ returned.
const PENDING: &str = "from V8 12 on an exception is pending through all that C++ does after it; so Node 22";

/// For Node 18 and 20, as in src/js_stream.cc and src/node_messaging.cc of Node 22.
static BEFORE_22: [Edit; 6] = [
    Edit {
        file: "src/js_stream.cc",
        find: "using v8::Object;\nusing v8::Value;\n",
        replace: "using v8::Object;\nusing v8::TryCatch;\nusing v8::Value;\n",
        times: 1,
        why: PENDING,
    },
    Edit {
        file: "src/js_stream.cc",
        find: "  int len = buffer.length();\n\n  // Repeatedly ask the stream's owner",
        replace: "  int len = buffer.length();\n\n  TryCatch try_catch(args.GetIsolate());\n\n  // Repeatedly ask the stream's owner",
        times: 1,
        why: PENDING,
    },
    Edit {
        file: "src/js_stream.cc",
        find: "    wrap->EmitRead(avail, buf);\n  }\n}\n",
        replace: "    wrap->EmitRead(avail, buf);\n  }\n\n  if (try_catch.HasCaught()) {\n    try_catch.ReThrow();\n  }\n}\n",
        times: 1,
        why: PENDING,
    },
    Edit {
        file: "src/node_messaging.cc",
        find: "        data = host_object->TransferForMessaging();\n      if (!data)\n        data = host_object->CloneForMessaging();\n",
        replace: "        data = host_object->TransferForMessaging();\n      else\n        data = host_object->CloneForMessaging();\n",
        times: 1,
        why: PENDING,
    },
    Edit {
        file: "src/node_messaging.cc",
        find: "      msg->Serialize(env, context, message_v, transfer_v, obj);\n  if (data_ == nullptr) {\n",
        replace: "      msg->Serialize(env, context, message_v, transfer_v, obj);\n  if (try_catch.HasCaught() && !try_catch.HasTerminated()) {\n    try_catch.ReThrow();\n  }\n  if (data_ == nullptr) {\n",
        times: 1,
        why: PENDING,
    },
    Edit {
        file: "src/node_messaging.cc",
        find: "  Local<Object> obj = object(isolate);\n\n  std::shared_ptr<Message> msg",
        replace: "  Local<Object> obj = object(isolate);\n  TryCatchScope try_catch(env);\n\n  std::shared_ptr<Message> msg",
        times: 1,
        why: PENDING,
    },
];

const KEYS: &str = "Node 18's V8 has symbols as keys of WeakMaps by a patch of 18.20's, and those of Node 18.0 to 18.19 have not";

/// For Node 18: what is registered for a module stays for good where it cannot go with the module's symbol.
static ONLY_18: [Edit; 2] = [
    Edit {
        file: "lib/internal/modules/esm/utils.js",
        find: "  ArrayIsArray,\n  SafeSet,\n  SafeWeakMap,\n",
        replace: "  ArrayIsArray,\n  SafeMap,\n  SafeSet,\n  SafeWeakMap,\n",
        times: 1,
        why: KEYS,
    },
    Edit {
        file: "lib/internal/modules/esm/utils.js",
        find: "const moduleRegistries = new SafeWeakMap();\n",
        replace: "let moduleRegistries = new SafeWeakMap();\ntry {\n  moduleRegistries.set(default_host_defined_options, undefined);\n  moduleRegistries.delete(default_host_defined_options);\n} catch {\n  // V8 has no symbols as keys of WeakMaps.\n  moduleRegistries = new SafeMap();\n}\n",
        times: 1,
        why: KEYS,
    },
];

/// Those of a line, by Node's major version.
fn of(node: u32) -> impl Iterator<Item = &'static Edit> {
    let [before_22, only_18]: [&[Edit]; 2] = match node {
        18 => [&BEFORE_22, &ONLY_18],
        20 => [&BEFORE_22, &[]],
        _ => [&[], &[]],
    };
    before_22.iter().chain(only_18)
}

/// What a guest can be without although its Node's own V8 has it, for its note.
pub fn spares(node: u32) -> Vec<String> {
    let keys = of(node).any(|edit| edit.why == KEYS);
    keys.then(|| SYMBOL_KEYS.to_owned()).into_iter().collect()
}

/// What identifies them: part of the key of what is built with them.
pub fn fingerprint(node: u32) -> String {
    let texts: Vec<&str> = of(node).flat_map(|edit| [edit.file, edit.find, edit.replace]).collect();
    hex(&Sha256::digest(texts.join("\0")))
}

/// Changes Node's source in `tree`.
///
/// # Errors
/// A text does not stand there as often as it should (E0709), or a file cannot be read or written.
pub fn apply(tree: &Path, node: u32) -> Result<()> {
    of(node).try_for_each(|edit| {
        let file = tree.join(edit.file);
        let text = fs::read_to_string(&file).map_err(io("read", &file))?;
        let found = text.matches(edit.find).count();
        if found != edit.times {
            let line = edit.find.trim().lines().next().unwrap_or_default();
            let why = format!(
                "{line:?} is expected {} time(s) and there {found} time(s): {}",
                edit.times, edit.why
            );
            return Err(KitError::Patch { patch: edit.file.into(), tree: tree.into(), why });
        }
        fs::write(&file, text.replace(edit.find, edit.replace)).map_err(io("write", &file))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that has just the texts that are replaced.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for edit in of(18) {
            let file = tree.path().join(edit.file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let text = fs::read_to_string(&file).unwrap_or_default() + &edit.find.repeat(edit.times);
            fs::write(file, text).unwrap();
        }
        tree
    }

    #[test]
    fn every_text_is_replaced_and_a_second_time_it_is_not_there() {
        let tree = tree();
        apply(tree.path(), 18).unwrap();
        let text = fs::read_to_string(tree.path().join("src/js_stream.cc")).unwrap();
        for edit in BEFORE_22.iter().filter(|edit| edit.file == "src/js_stream.cc") {
            assert!(!text.contains(edit.find) && text.contains(edit.replace), "{}", edit.replace);
        }
        let error = apply(tree.path(), 18).unwrap_err();
        assert_eq!(error.code(), "E0709");
        assert!(error.to_string().contains("src/js_stream.cc"), "{error}");
    }

    #[test]
    fn only_node_18_has_need_of_symbols_as_keys() {
        assert_eq!(spares(18), [SYMBOL_KEYS]);
        assert!(spares(20).is_empty() && spares(24).is_empty());
        assert_ne!(fingerprint(18), fingerprint(20));
    }

    #[test]
    fn lines_without_any_have_another_key() {
        assert_ne!(fingerprint(18), fingerprint(24));
        apply(Path::new("/nowhere"), 24).unwrap();
    }
}
