//! Structural edits of V8's headers: what is more than a number. Each must find its text, or the headers are of a V8 that has
//! another form there, for which there is no rule.

/// One edit.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// The header.
    pub file: &'static str,
    /// What stands there.
    pub find: &'static str,
    /// What takes its place.
    pub replace: &'static str,
    /// How often it stands there.
    pub times: usize,
    /// What it answers to.
    pub why: &'static str,
}

pub(super) const fn once(
    file: &'static str,
    find: &'static str,
    replace: &'static str,
    why: &'static str,
) -> Edit {
    Edit { file, find, replace, times: 1, why }
}

// What headers of several V8s have in the same words.

const LAYOUT: Edit = once(
    "v8-internal.h",
    "#include \"v8-version.h\"  // NOLINT(build/include_directory)\n",
    "#include \"v8-version.h\"  // NOLINT(build/include_directory)\n#include \"v8-relink-layout.h\"\n",
    "the layout table",
);
const HOLDER: Edit = once(
    "v8-function-callback.h",
    "Local<Object> FunctionCallbackInfo<T>::Holder() const {\n",
    "Local<Object> FunctionCallbackInfo<T>::Holder() const {\n\
     \x20 if (kHolderIndex < 0) return This();\n",
    "13.6 has no holder: it is the receiver",
);
const WEAK_DATA: Edit = once(
    "v8-function-callback.h",
    "template <typename T>\nclass ReturnValue {\n",
    "namespace api_internal {\n\
     // Weak: only V8s whose callbacks are told the called function have it.\n\
     __attribute__((weak)) V8_EXPORT Local<Value> GetFunctionTemplateData(Isolate* isolate, Local<Data> target);\n\
     }  // namespace api_internal\n\n\
     template <typename T>\nclass ReturnValue {\n",
    "13.6 keeps a callback's data with its function",
);
const WORDS: Edit = Edit {
    file: "v8-function-callback.h",
    find: "(&args_[k",
    replace: "(&words()[k",
    times: 5,
    why: "13.6 has a property callback's words in the structure",
};
const THROW_IF: Edit = once(
    "v8-function-callback.h",
    "  if (args_[kShouldThrowOnErrorIndex] !=",
    "  if (words()[kShouldThrowOnErrorIndex] !=",
    "13.6 has a property callback's words in the structure",
);
const THROW_ELSE: Edit = once(
    "v8-function-callback.h",
    "    return args_[kShouldThrowOnErrorIndex] !=",
    "    return words()[kShouldThrowOnErrorIndex] !=",
    "13.6 has a property callback's words in the structure",
);
const TWO_BYTE: Edit = once(
    "v8-primitive.h",
    "  if (I::IsExternalTwoByteString(I::GetInstanceType(obj))) {\n",
    "  if (false) {  // the function has an adapter where the resource is of another V8's making\n",
    "13.6 has other virtual functions in a string's resource",
);

// Since 11.3.

pub(super) const INTERNAL_FIELD: Edit = once(
    "v8-internal.h",
    "  V8_INLINE static constexpr bool CanHaveInternalField(int instance_type) {\n\
     \x20   static_assert(kJSObjectType + 1 == kFirstJSApiObjectType);\n\
     \x20   static_assert(kJSObjectType < kLastJSApiObjectType);\n\
     \x20   static_assert(kFirstJSApiObjectType < kLastJSApiObjectType);\n",
    "  V8_INLINE static bool CanHaveInternalField(int instance_type) {\n",
    "types of instances are known at run time only",
);
pub(super) const BESIDE: Edit = once(
    "v8-function-callback.h",
    "  return *reinterpret_cast<Isolate**>(&value_[kIsolateValueIndex]);\n",
    "  return *reinterpret_cast<Isolate**>(&value_[internal::kRelinkReturnValueIsolateSlot]);\n",
    "what stands beside a return value",
);
const DATA: Edit = once(
    "v8-function-callback.h",
    "Local<Value> FunctionCallbackInfo<T>::Data() const {\n",
    "Local<Value> FunctionCallbackInfo<T>::Data() const {\n\
     \x20 if (kDataIndex < 0)\n\
     \x20   return api_internal::GetFunctionTemplateData(\n\
     \x20       GetIsolate(), Local<v8::Data>::FromSlot(&implicit_args_[internal::kRelinkCallbackTarget]));\n",
    "13.6 keeps a callback's data with its function",
);
const PROPERTY_WORDS: Edit = once(
    "v8-function-callback.h",
    "  V8_INLINE explicit PropertyCallbackInfo(internal::Address* args)\n\
     \x20     : args_(args) {}\n",
    "  V8_INLINE explicit PropertyCallbackInfo(internal::Address* args)\n\
     \x20     : args_(args) {}\n\
     \x20 V8_INLINE internal::Address* words() const {\n\
     \x20   return internal::kRelinkPropertyInPlace != 0\n\
     \x20              ? reinterpret_cast<internal::Address*>(const_cast<PropertyCallbackInfo*>(this))\n\
     \x20              : args_;\n\
     \x20 }\n",
    "13.6 has a property callback's words in the structure",
);

/// Virtual functions that later V8s added at the end of interfaces that Node implements.
const ADDRESS: Edit = once(
    "v8-profiler.h",
    "    virtual Detachedness GetDetachedness() { return Detachedness::kUnknown; }\n",
    "    virtual Detachedness GetDetachedness() { return Detachedness::kUnknown; }\n\
     \x20   virtual const void* GetAddress() { return nullptr; }\n",
    "11.8 asks a node of the heap's graph for its address",
);

// Since 12.4.

pub(super) const INCLUDED: Edit = once(
    "v8-internal.h",
    "#include \"v8config.h\"  // NOLINT(build/include_directory)\n",
    "#include \"v8config.h\"  // NOLINT(build/include_directory)\n#include \"v8-relink-layout.h\"\n",
    "the layout table",
);
pub(super) const PLACES: Edit = once(
    "v8-function-callback.h",
    "  static_assert(ReturnValue<Value>::kIsolateValueIndex ==\n\
     \x20               kIsolateIndex - kReturnValueIndex);\n",
    "",
    "where a callback's words are is known at run time only",
);

/// The edits for headers of V8 10.2.
static FOR_10_2: [Edit; 16] = [
    LAYOUT,
    once(
        "v8-internal.h",
        "V8_EXPORT bool CanHaveInternalField(int instance_type);\n",
        "",
        "V8 has no such function since 10.8: it is inline",
    ),
    once(
        "v8-object.h",
        "// --- Implementation ---\n",
        "// --- Implementation ---\n\n\
         namespace internal {\n\
         V8_INLINE bool CanHaveInternalField(int instance_type) {\n\
         \x20 using I = Internals;\n\
         \x20 return instance_type == I::kJSSpecialApiObjectType ||\n\
         \x20        (instance_type >= I::kJSObjectType && instance_type <= I::kLastJSApiObjectType);\n\
         }\n\
         }  // namespace internal\n",
        "V8 has no such function since 10.8: it is inline",
    ),
    once(
        "v8-function-callback.h",
        "  return *reinterpret_cast<Isolate**>(&value_[-2]);\n",
        "  return *reinterpret_cast<Isolate**>(&value_[internal::kRelinkReturnValueIsolateSlot]);\n",
        "what stands beside a return value",
    ),
    once(
        "v8-function-callback.h",
        "  return value_[-1];\n",
        "  if (internal::kRelinkReturnValueDefaultSlot != 0)\n\
         \x20   return value_[internal::kRelinkReturnValueDefaultSlot];\n\
         \x20 return *internal::Internals::GetRoot(GetIsolate(), internal::kRelinkReturnValueDefaultRoot);\n",
        "since 11.8 no default stands beside a return value",
    ),
    HOLDER,
    once(
        "v8-function-callback.h",
        "Local<Value> FunctionCallbackInfo<T>::Data() const {\n",
        "Local<Value> FunctionCallbackInfo<T>::Data() const {\n\
         \x20 if (kDataIndex < 0)\n\
         \x20   return api_internal::GetFunctionTemplateData(GetIsolate(), Local<v8::Data>(reinterpret_cast<v8::Data*>(\n\
         \x20       &implicit_args_[internal::kRelinkCallbackTarget])));\n",
        "13.6 keeps a callback's data with its function",
    ),
    WEAK_DATA,
    WORDS,
    THROW_IF,
    THROW_ELSE,
    once(
        "v8-function-callback.h",
        "  V8_INLINE PropertyCallbackInfo(internal::Address* args) : args_(args) {}\n",
        "  V8_INLINE PropertyCallbackInfo(internal::Address* args) : args_(args) {}\n\
         \x20 V8_INLINE internal::Address* words() const {\n\
         \x20   return internal::kRelinkPropertyInPlace != 0\n\
         \x20              ? reinterpret_cast<internal::Address*>(const_cast<PropertyCallbackInfo*>(this))\n\
         \x20              : args_;\n\
         \x20 }\n",
        "13.6 has a property callback's words in the structure",
    ),
    TWO_BYTE,
    once(
        "v8-script.h",
        "    std::unique_ptr<ConsumeCodeCacheTask> consume_cache_task;\n  };\n",
        "    std::unique_ptr<ConsumeCodeCacheTask> consume_cache_task;\n    char relink_room_[96] = {};\n  };\n",
        "later V8s have more fields, which they read and write",
    ),
    once(
        "v8-isolate.h",
        "    Isolate* experimental_attach_to_shared_isolate = nullptr;\n  };\n",
        "    Isolate* experimental_attach_to_shared_isolate = nullptr;\n    char relink_room_[64] = {};\n  };\n",
        "later V8s have more fields, which they read and write",
    ),
    ADDRESS,
];

/// The edits for headers of V8 11.3.
static FOR_11_3: [Edit; 17] = [
    LAYOUT,
    INTERNAL_FIELD,
    once(
        "v8-function-callback.h",
        "  static_assert(ReturnValue<Value>::kDefaultValueValueIndex ==\n\
         \x20               kReturnValueDefaultValueIndex - kReturnValueIndex);\n\
         \x20 static_assert(ReturnValue<Value>::kIsolateValueIndex ==\n\
         \x20               kIsolateIndex - kReturnValueIndex);\n",
        "",
        "where a callback's words are is known at run time only",
    ),
    BESIDE,
    once(
        "v8-function-callback.h",
        "  return value_[kDefaultValueValueIndex];\n",
        "  if (internal::kRelinkReturnValueDefaultSlot != 0)\n\
         \x20   return value_[internal::kRelinkReturnValueDefaultSlot];\n\
         \x20 return internal::Internals::GetRoot(GetIsolate(), internal::kRelinkReturnValueDefaultRoot);\n",
        "since 11.8 no default stands beside a return value",
    ),
    HOLDER,
    DATA,
    WEAK_DATA,
    WORDS,
    THROW_IF,
    THROW_ELSE,
    PROPERTY_WORDS,
    TWO_BYTE,
    once(
        "v8-script.h",
        "    void* compile_hint_callback_data = nullptr;\n  };\n",
        "    void* compile_hint_callback_data = nullptr;\n    char relink_room_[96] = {};\n  };\n",
        "later V8s have more fields, which they read and write",
    ),
    once(
        "v8-isolate.h",
        "    OOMErrorCallback oom_error_callback = nullptr;\n  };\n",
        "    OOMErrorCallback oom_error_callback = nullptr;\n    char relink_room_[64] = {};\n  };\n",
        "later V8s have more fields, which they read and write",
    ),
    once(
        "v8-profiler.h",
        "    NumericsMode numerics_mode = NumericsMode::kHideNumericValues;\n  };\n",
        "    NumericsMode numerics_mode = NumericsMode::kHideNumericValues;\n    char relink_room_[32] = {};\n  };\n",
        "later V8s have more fields, of which 0 is what they do by themselves",
    ),
    ADDRESS,
];

/// The edits for headers of V8 12.4.
static FOR_12_4: [Edit; 16] = [
    INCLUDED,
    INTERNAL_FIELD,
    PLACES,
    BESIDE,
    once(
        "v8-function-callback.h",
        "  *value_ = I::GetRoot(GetIsolate(), I::kTheHoleValueRootIndex);\n",
        "  int root = internal::kRelinkReturnValueDefaultRoot;\n\
         \x20 if (root != I::kTheHoleValueRootIndex && (std::is_void_v<T> || std::is_same_v<T, Boolean>))\n\
         \x20   root = I::kTrueValueRootIndex;\n\
         \x20 if (root != I::kTheHoleValueRootIndex && std::is_same_v<T, Integer>)\n\
         \x20   *value_ = I::IntToSmi(0);\n\
         \x20 else\n\
         \x20   *value_ = I::GetRoot(GetIsolate(), root);\n",
        "since 12.9 each kind of return value has a default of its own, and none is the hole",
    ),
    HOLDER,
    DATA,
    WEAK_DATA,
    WORDS,
    THROW_IF,
    THROW_ELSE,
    PROPERTY_WORDS,
    TWO_BYTE,
    once(
        "v8-script.h",
        "    CompilationDetails compilation_details;\n  };\n",
        "    CompilationDetails compilation_details;\n    char relink_room_[64] = {};\n  };\n",
        "later V8s may have more fields, which they read and write",
    ),
    once(
        "v8-isolate.h",
        "    CppHeap* cpp_heap = nullptr;\n  };\n",
        "    CppHeap* cpp_heap = nullptr;\n    char relink_room_[64] = {};\n  };\n",
        "later V8s have more fields, which they read and write",
    ),
    once(
        "v8-profiler.h",
        "        cppgc::EmbedderStackState::kMayContainHeapPointers;\n  };\n",
        "        cppgc::EmbedderStackState::kMayContainHeapPointers;\n    char relink_room_[32] = {};\n  };\n",
        "later V8s have more fields, of which 0 is what they do by themselves",
    ),
];

/// Applies the edits for one file to its text.
///
/// # Errors
/// The edit whose text does not stand there as often as it should.
pub fn apply(edits: &'static [Edit], file: &str, text: &str) -> Result<String, &'static Edit> {
    let mut own = edits.iter().filter(|edit| edit.file == file);
    own.try_fold(text.to_owned(), |text, edit| {
        if text.matches(edit.find).count() == edit.times {
            Ok(text.replace(edit.find, edit.replace))
        } else {
            Err(edit)
        }
    })
}

/// The edits for headers of a V8, by its major and minor version; `None` if there are none for it.
pub fn of_v8(v8: (u32, u32)) -> Option<&'static [Edit]> {
    match v8 {
        (10, 2) => Some(&FOR_10_2),
        (11, 3) => Some(&FOR_11_3),
        (12, 4) => Some(&FOR_12_4),
        (13, 6) => Some(&super::v13_6::EDITS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_not_there_is_told() {
        let edits = of_v8((10, 2)).expect("edits");
        let edit = apply(edits, "v8-isolate.h", "struct CreateParams {};").expect_err("no rule");
        assert!(edit.find.contains("experimental_attach_to_shared_isolate"));
        let twice = edits[14].find.repeat(2);
        assert!(apply(edits, "v8-isolate.h", &twice).is_err());
        assert!(apply(edits, "v8-isolate.h", edits[14].find).expect("found").contains("relink_room_[64]"));
        assert_eq!(apply(edits, "v8-date.h", "x").expect("nothing to do"), "x");
        assert!(of_v8((9, 4)).is_none());
    }
}
