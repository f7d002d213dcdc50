//! Calls since V8 14.6: V8's words of a call are in its stack frame (v8-function-callback.h, `ApiCallbackExitFrame` and
//! `ApiAccessorExitFrame`). A guest is not told these but words that its adapter unit makes of them; the code that reads them with
//! the headers' numbers is the unit's.

use super::{Accessor, Eyes, Inlined};

impl Eyes<'_> {
    /// Whether these are such headers.
    pub(super) fn in_frame(&self) -> bool {
        self.reads("kFirstJSArgumentIndex")
    }

    /// `FunctionCallbackInfo::operator[]`.
    pub(super) fn argument_in_frame(&self, index: u64) -> Inlined {
        let first = known!(self.info_constant("kFirstJSArgumentIndex"));
        Inlined::Sees(self.word_of("callback_info", first.wrapping_add(index)))
    }

    /// `FunctionCallbackInfo::NewTarget` of a call that constructs: where the frame's type does not say so, it is undefined.
    pub(super) fn new_target(&self) -> Inlined {
        let (kind, target) =
            (known!(self.info_constant("kFrameTypeIndex")), known!(self.info_constant("kNewTargetIndex")));
        if self.seen.truth("construct_info").is_none() {
            return Inlined::NoFact;
        }
        let constructs = known!(self.tagged("kFrameTypeApiConstructExit"));
        match self.word_of("construct_info", kind) {
            Some(found) if found == constructs => Inlined::Sees(self.word_of("construct_info", target)),
            found => Inlined::Sees(found.and_then(|_| self.seen.truth("undefined"))),
        }
    }

    /// `PropertyCallbackInfo::Data`: in a frame it is a field of what V8 knows of the accessor.
    pub(super) fn accessors_data(&self, accessor: Accessor) -> Inlined {
        if !self.in_frame() {
            return self.accessor(accessor, "kDataIndex");
        }
        let at = known!(self.number("kCallbackInfoDataOffset"));
        match self.accessor(accessor, "kCallbackInfoIndex") {
            Inlined::Sees(known) => Inlined::Sees(self.field(known, at, 8)),
            Inlined::NoFact => Inlined::NoFact,
        }
    }

    /// A word of what was written down under a name.
    fn word_of(&self, written: &str, index: u64) -> Option<u64> {
        self.seen.word(self.seen.truth(written)?.wrapping_add(index.wrapping_mul(8)))
    }
}
