//! What V8s before the guest's own lack, and what a guest gets for it: from the bridge of its line within that line, from an adapter unit on
//! an older one.

use super::{always, missing, Adapter};

/// What Node 18.20 had its V8 patched for, on hosts without that patch: for guests that say in their note that they can be without
/// ([`crate::note::GuestNote::spares`]).
pub(super) const WITHOUT_SYMBOL_KEYS: [Adapter; 2] = [
    missing(
        "_ZN2v86Object27SetInternalFieldForNodeCoreEiNS_5LocalINS_13UnboundScriptEEE",
        "relink_adapter_SetInternalFieldForNodeCore_script",
        UNPATCHED,
    )
    .losing(KEPT),
    missing(CAME_WITH_SYMBOL_KEYS, "relink_adapter_SetInternalFieldForNodeCore_module", UNPATCHED)
        .losing(NO_ATTRIBUTES),
];

/// By this function (mangled) a V8 10.2 is known to have [`crate::note::SYMBOL_KEYS`].
pub const CAME_WITH_SYMBOL_KEYS: &str = "_ZN2v86Object27SetInternalFieldForNodeCoreEiNS_5LocalINS_6ModuleEEE";
const UNPATCHED: &str =
    "a function that came to V8 10.2 with Node 18.20, together with symbols as keys of WeakMaps";
const KEPT: &str = "memory of ES modules, and of scripts with an import() of their own, that are no longer used: the host's V8 has no \
     symbols as keys of WeakMaps";

/// Node 18.20 and 20.10 had their V8s patched for them.
pub(super) const NO_ATTRIBUTES: &str =
    "attributes of imports as `with { type: 'json' }`: the host's V8 knows them as `assert { type: 'json' }` only";

/// What V8 10.1 has otherwise than 10.2.
pub(super) const BEFORE_10_2: [Adapter; 1] = [always(
    "_ZN12v8_inspector11V8Inspector6createEPN2v87IsolateEPNS_17V8InspectorClientE",
    "relink_unit_inspector",
    "V8 10.2: V8InspectorClient has two functions more",
)];
