//! Relinking one add-on: it means the host's V8 by V8's names, and the guest and its libraries by Node's, whatever the
//! process exports. All that is read of these is in memory; only names that the guest hides are in its file.
//!
//! No gate stands here: an add-on is planned with the admission of its guest ([`Admission`]).
//!
//! # Safety
//! The copy is planned for the very image that is loaded, none of whose code runs before every slot is bound.

use super::libraries::{self, Fate, Part};
use super::loaded::{self, Id};
use crate::guest::copy::plan_copy;
use crate::guest::stage::{self, Source, Staged};
use crate::guest::{Inventory, Lifecycle};
use crate::host::Exports;
use crate::patch::apply;
use crate::patch::live::LiveMemory;
use crate::plan::{Guard, Member, Placement, Request, StagedDefinitions, StagedImage, Why};
use crate::process::{Maps, Modules};
use crate::stages::{Admission, VerifiedPlan};
use relink_abi::adapters::Adapter;
use relink_abi::error::Error;
use relink_abi::symbol::{owner, Owner};
use relink_elf::address::{LinkAddr, LoadBias, RunAddr};
use relink_elf::arch::Arch;
use relink_elf::file::FileOnDisk;
use relink_elf::{full_symbols, Dynamic, ElfError, FileImage, Image};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::c_int;

/// A staged image, as an add-on sees it.
#[derive(Debug)]
pub struct Known {
    /// Which.
    pub image: StagedImage,
    /// Its soname, which the loaded copy does not tell.
    pub soname: String,
    /// Where it is.
    pub bias: LoadBias,
}

/// What the names of an add-on can mean.
#[derive(Debug)]
pub struct World {
    /// The guest's admission.
    pub admission: Admission,
    /// The guest first, its libraries in the order in which symbols are looked up, the bridge.
    pub images: Vec<Known>,
    /// The module that provides V8: its name for messages, and where it is.
    pub provider: (String, LoadBias),
    /// Where the other modules of a component build are.
    pub provider_parts: Vec<LoadBias>,
    /// The adapters that the guest uses.
    pub adapters: Vec<&'static Adapter>,
    /// The guards that the guest has: an add-on is held to the same.
    pub guards: Vec<Guard>,
    /// The guest's file, for names that it does not export but that `node` does (libuv's, OpenSSL's, zlib's).
    pub guest: FileOnDisk,
}

/// The definitions of a staged image: its dynamic symbols, then hidden ones.
struct Definitions<'i, 'd> {
    exports: Exports<'i, 'd>,
    hidden: HashMap<String, (LinkAddr, bool)>,
}

impl StagedDefinitions for Definitions<'_, '_> {
    fn link(&self, name: &str, version: Option<&str>) -> Result<Option<LinkAddr>, ElfError> {
        let found = self.exports.link(name, version)?;
        Ok(found.or_else(|| self.hidden.get(name).map(|(at, _)| *at)))
    }
}

/// The images in memory, as they are asked for definitions.
struct Live<'l> {
    members: Vec<Member<'l, 'l>>,
    provider: &'l Exports<'l, 'l>,
}

/// A file of an add-on's, read.
struct AddOn<'a, 'd> {
    part: &'a Part,
    image: &'a FileImage<'d>,
    inventory: Inventory<'d>,
    definitions: Definitions<'a, 'd>,
}

impl World {
    /// Loads and binds private copies of the add-on in this file and of those of its libraries that refer to Node or V8; none of
    /// their code has run. `None`: it is no add-on, or not even a library for this machine, which is for ld.so to say. `whom` its
    /// symbols serve says [`stage::load_for`].
    pub(super) fn relink(&self, file: FileOnDisk, whom: c_int) -> Result<Option<Relinked>, Error> {
        match FileImage::parse(&file.bytes, Arch::native()) {
            Err(ElfError::NotElf { .. } | ElfError::Unsuitable { .. }) => return Ok(None),
            parsed => parsed.map_err(|source| Error::AddOnImage { path: file.path.clone(), source })?,
        };
        let parts = libraries::parts(self, file)?;
        let claims = claim_libraries(&parts)?;
        let files = parts.iter().map(Part::image).collect::<Result<Vec<_>, _>>()?;
        let read = parts.iter().zip(&files).zip(&claims).map(|((part, image), claim)| {
            AddOn::read(part, image, claim.is_there()).map_err(|e| part.broken(e))
        });
        let addons = read.collect::<Result<Vec<_>, _>>()?;
        let registers = addons[0].registers().map_err(|e| parts[0].broken(e))?;
        let hidden = addons.iter().flat_map(|addon| self.hidden_names(addon)).collect();
        self.look(&hidden, |live| {
            let plan = self.plan(&addons, live)?;
            let named = parts[0].fates.iter().any(|(_, fate)| *fate != Fate::LdSo);
            if registers || named || plan.plan().bindings.iter().any(|b| is_of_node(b.why)) {
                self.load(&addons, claims, &plan, whom).map(Some)
            } else {
                Ok(None)
            }
        })
    }

    /// Run-time address of what an add-on means by a name of V8's or Node's, for `dlsym`.
    pub fn find(&self, name: &str) -> Result<Option<RunAddr>, Error> {
        Ok(self.find_all(&[name])?[0])
    }

    /// The same for several names, in one look.
    pub fn find_all(&self, names: &[&str]) -> Result<Vec<Option<RunAddr>>, Error> {
        let hidden = names.iter().copied().collect();
        self.look(&hidden, |live| names.iter().map(|name| self.find_in(live, name)).collect())
    }

    fn find_in(&self, live: &Live, name: &str) -> Result<Option<RunAddr>, Error> {
        if owner(name) == Owner::V8 {
            let found = live.provider.find(name, None).map_err(|e| unreadable(&self.provider.0, e))?;
            return Ok(found.map(|definition| definition.address));
        }
        for (member, known) in live.members.iter().zip(&self.images) {
            let found = member.definitions.link(name, None).map_err(|e| unreadable(&known.soname, e))?;
            if let Some(at) = found {
                return Ok(Some(known.bias.run(at)));
            }
        }
        Ok(None)
    }

    /// Reads the images in memory. `hidden` names are also looked for in the guest's file, and V8's among them in the host's.
    fn look<T>(
        &self,
        hidden: &HashSet<&str>,
        ask: impl FnOnce(&Live) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let maps = Maps::own().map_err(|source| Error::Proc { what: "/proc/self/maps", source })?;
        let modules = Modules::observe();
        let (name, bias) = &self.provider;
        let provider = image_at(&modules, &maps, *bias).map_err(|e| unreadable(name, e))?;
        let parts = self.provider_parts.iter().map(|bias| Ok((image_at(&modules, &maps, *bias)?, *bias)));
        let parts = parts.collect::<Result<Vec<_>, _>>().map_err(|e| unreadable(name, e))?;
        let others = parts.iter().map(|(image, bias)| exports(image, *bias)).collect::<Result<_, _>>();
        let mut provider = others
            .and_then(|others| Ok(exports(&provider, *bias)?.with(others)))
            .map_err(|e| unreadable(name, e))?;
        if let Some(module) = modules.0.iter().find(|module| module.bias == *bias) {
            // As for the guest: V8 may hide from its dynamic symbols what is asked of it.
            let of_v8 = hidden.iter().copied().filter(|name| owner(name) == Owner::V8);
            provider.complete(&module.path, of_v8).map_err(|e| unreadable(name, e))?;
        }
        let image =
            |known: &Known| image_at(&modules, &maps, known.bias).map_err(|e| unreadable(&known.soname, e));
        let images = self.images.iter().map(image).collect::<Result<Vec<_>, _>>()?;
        let defined = |(known, image): (&Known, _)| {
            let exports = exports(image, LoadBias(0)).map_err(|e| unreadable(&known.soname, e))?;
            let hidden = if known.image == StagedImage::Guest { self.hidden(hidden) } else { HashMap::new() };
            Ok(Definitions { exports, hidden })
        };
        let definitions = self.images.iter().zip(&images).map(defined).collect::<Result<Vec<_>, Error>>()?;
        let inventories: Vec<_> = self.images.iter().map(|known| nothing_to_bind(&known.soname)).collect();
        let members =
            self.images.iter().zip(&inventories).zip(&definitions).map(|((known, inventory), defined)| {
                let definitions: &dyn StagedDefinitions = defined;
                Member { image: known.image, inventory, definitions }
            });
        ask(&Live { members: members.collect(), provider: &provider })
    }

    /// Definitions that the guest's file has in its full symbol table; a stripped one has none.
    fn hidden(&self, wanted: &HashSet<&str>) -> HashMap<String, (LinkAddr, bool)> {
        let file = FileImage::parse(&self.guest.bytes, Arch::native()).ok();
        file.and_then(|file| full_symbols(&file, wanted).ok()).unwrap_or_default()
    }

    /// The names that may be looked for among those that the guest or the host hides: libuv's, V8's and, where the image has no
    /// libraries of its own, all that it expects of the program that loads it.
    fn hidden_names<'d>(&self, addon: &AddOn<'_, 'd>) -> HashSet<&'d str> {
        let alone = addon.part.fates.iter().all(|(_, fate)| *fate == Fate::Node);
        let slots = addon.inventory.slots.iter();
        let expected = slots.filter(|s| s.own.is_none() && s.library.is_none() && !s.weak);
        let hidden = |name: &&str| alone || name.starts_with("uv_") || owner(name) == Owner::V8;
        expected.map(|s| s.symbol).filter(hidden).collect()
    }

    /// Whether a library of this name is the guest.
    pub(super) fn is_guest(&self, library: &str) -> bool {
        self.images.iter().any(|known| known.image == StagedImage::Guest && known.soname == library)
    }

    fn plan<'l>(&self, addons: &'l [AddOn<'l, 'l>], live: &Live<'l>) -> Result<VerifiedPlan<'l>, Error> {
        let adapted = self.images.iter().any(|known| known.image == StagedImage::Unit);
        for addon in addons.iter().filter(|_| adapted) {
            if let Some(symbol) = addon.inventory.needed_v8().next() {
                let path = addon.part.file.path.clone();
                return Err(Error::AddOnOfOtherV8 { path, symbol: symbol.to_owned() });
            }
        }
        let mut members = live.members.clone();
        members.extend(addons.iter().enumerate().map(|(number, addon)| Member {
            image: image_of(number),
            inventory: &addon.inventory,
            definitions: &addon.definitions,
        }));
        let planned = self.admission.plan(&Request {
            members: &members,
            needs: &|_| false,
            provider: live.provider,
            provider_name: &self.provider.0,
            adapters: &self.adapters,
            guards: &self.guards,
        });
        planned.map_err(|error| match error {
            Error::MissingSymbols { names, .. } | Error::Unresolved { names } => {
                Error::AddOnNeeds { path: addons[0].part.file.path.clone(), names }
            }
            other => other,
        })
    }

    fn load(
        &self,
        addons: &[AddOn],
        claims: Vec<Library>,
        plan: &VerifiedPlan,
        whom: c_int,
    ) -> Result<Relinked, Error> {
        let mut biases: BTreeMap<_, _> = self.images.iter().map(|known| (known.image, known.bias)).collect();
        let mut staged = Staging::default();
        for (number, (addon, claim)) in addons.iter().zip(&claims).enumerate() {
            match claim {
                Library::There(bias) => drop(biases.insert(image_of(number), *bias)),
                // The add-on's own symbols may serve others, its libraries' serve it alone.
                _ => {
                    let whom = if number == 0 { whom } else { libc::RTLD_LOCAL };
                    let one = addon.load(plan, image_of(number), whom)?;
                    biases.insert(image_of(number), one.bias());
                    staged.0.push((number, one));
                }
            }
        }
        let spans = staged.0.iter().map(|(_, staged)| staged.span()).collect();
        // SAFETY: the images are loaded, none of their code has run, and nobody else knows them.
        let memory = unsafe { LiveMemory::new(spans) };
        let mut memory = memory.map_err(|source| Error::Proc { what: "/proc/self/maps", source })?;
        apply(&mut memory, plan.writes(&Placement(biases))).map(drop)?;
        Ok(staged.whole(addons, claims))
    }
}

/// Images that are loaded. Dropped before all of them are bound, they are unloaded: none of their code has run.
#[derive(Default)]
struct Staging(Vec<(usize, Staged)>);

impl Staging {
    fn whole(mut self, addons: &[AddOn], claims: Vec<Library>) -> Relinked {
        let parts: Vec<&Part> = addons.iter().map(|addon| addon.part).collect();
        let mut staged = std::mem::take(&mut self.0);
        let mut claims: Vec<_> = claims.into_iter().map(Some).collect();
        let mut relinked = Relinked { images: Vec::new(), others: Vec::new() };
        for number in libraries::dependencies_first(&parts) {
            let part = parts[number];
            let Some(at) = staged.iter().position(|(other, _)| *other == number) else {
                relinked.others.push(part.id);
                continue;
            };
            let needs = part.fates.iter().filter_map(|(_, fate)| match fate {
                Fate::Part(other) => Some(parts[*other].id),
                _ => None,
            });
            let claimed = match claims[number].take() {
                Some(Library::Ours(claimed)) => Some(claimed),
                _ => None,
            };
            let image = loaded::Image {
                id: part.id,
                path: part.file.path.clone(),
                folders: part.folders.clone(),
                needs: needs.collect(),
                staged: staged.swap_remove(at).1,
            };
            relinked.images.push((claimed, image));
        }
        relinked
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // None of their code has run: dropped, they are unloaded.
        self.0.clear();
    }
}

/// An add-on and its libraries, loaded and bound.
pub(super) struct Relinked {
    /// In the order in which they are to be initialised, with the right to be the ones that are loaded; the last one is the
    /// add-on, whose right is the caller's.
    pub(super) images: Vec<(Option<loaded::Claimed>, loaded::Image)>,
    /// Libraries that are there, or that another thread loads at this moment.
    pub(super) others: Vec<Id>,
}

/// A part, as far as others may have loaded it.
enum Library {
    /// The add-on itself, which its caller has claimed.
    AddOn,
    Ours(loaded::Claimed),
    There(LoadBias),
}

impl Library {
    fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }
}

/// Claims all parts but the first. In one order for all threads, so that none waits for another that waits for it.
fn claim_libraries(parts: &[Part]) -> Result<Vec<Library>, Error> {
    let mut order: Vec<usize> = (1..parts.len()).collect();
    order.sort_by_key(|number| parts[*number].id);
    let mut claims: Vec<Library> = parts.iter().map(|_| Library::AddOn).collect();
    for number in order {
        let part = &parts[number];
        claims[number] = match loaded::claim(part.id, &part.file.path, true)? {
            loaded::Claim::There(_, bias) => Library::There(bias),
            loaded::Claim::Ours(claimed) => Library::Ours(claimed),
            loaded::Claim::Absent => Library::AddOn,
        };
    }
    Ok(claims)
}

/// The image of the part of this number.
fn image_of(number: usize) -> StagedImage {
    StagedImage::AddOn(u16::try_from(number).unwrap_or(u16::MAX))
}

impl<'a, 'd> AddOn<'a, 'd> {
    /// `is_there`: it is loaded and bound.
    fn read(part: &'a Part, image: &'a FileImage<'d>, is_there: bool) -> Result<Self, ElfError> {
        let exports = exports(&image.image, LoadBias(0))?;
        let definitions = Definitions { exports, hidden: HashMap::new() };
        let mut inventory = Inventory::read(image)?;
        if is_there {
            inventory.slots.clear();
        }
        for slot in &mut inventory.slots {
            // What was asked of a library that is not ld.so's to find: a Node's version is not the guest's.
            match slot.library.and_then(|library| part.fate(library)) {
                Some(Fate::Node) => (slot.library, slot.version) = (None, None),
                Some(Fate::Part(_)) => slot.library = None,
                Some(Fate::LdSo) | None => {}
            }
        }
        Ok(Self { part, image, inventory, definitions })
    }

    /// Whether it has Node-API's entry, by which an add-on is known that refers to nothing of Node's but by `dlsym`.
    fn registers(&self) -> Result<bool, ElfError> {
        const ENTRY: &str = "napi_register_module_v1";
        Ok(self.definitions.link(ENTRY, None)?.is_some())
    }

    fn load(&self, plan: &VerifiedPlan, image: StagedImage, whom: c_int) -> Result<Staged, Error> {
        let path = &self.part.file.path;
        let rewrites =
            plan.plan().bindings.iter().filter(|b| b.image == image).map(|b| (&b.slot, b.rewrite()));
        let taken_out = |name: &str| self.part.fate(name).is_some_and(|fate| fate != Fate::LdSo);
        let copy = plan_copy(self.image, &self.inventory, rewrites, &taken_out);
        let copy = copy.map_err(|at| Error::Stage {
            what: path.display().to_string(),
            why: format!("its file has no bytes for link-time address {at}"),
        })?;
        for library in self.part.by_own_path() {
            // SAFETY: a library that the add-on was linked with; ld.so would load it as well.
            unsafe { stage::load_dependency(&library) }?;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("add-on");
        let file = Some(&self.part.file.file);
        let source = Source { file: self.image, inventory: &self.inventory, on_disk: file, name };
        // SAFETY: the copy was planned for this image.
        unsafe { stage::load_for(source, &copy, whom) }
    }
}

/// Whether a binding makes its image an add-on: it leads to the host's V8 or to the guest.
fn is_of_node(why: Why) -> bool {
    matches!(why, Why::HostsV8 | Why::Adapter(_) | Why::GuestsNode | Why::Closure)
}

/// The image that is loaded at `bias`.
fn image_at<'m>(modules: &'m Modules, maps: &Maps, bias: LoadBias) -> Result<Image<'m>, ElfError> {
    let module = modules.0.iter().find(|module| module.bias == bias);
    module.map(|module| module.image(maps)).ok_or(ElfError::Missing("a place among the loaded modules"))
}

fn exports<'i, 'd>(image: &'i Image<'d>, bias: LoadBias) -> Result<Exports<'i, 'd>, ElfError> {
    Exports::new(image, &Dynamic::parse(image)?, bias)
}

fn unreadable(name: &str, source: ElfError) -> Error {
    Error::ProviderImage { path: name.into(), source }
}

/// The inventory of an image that is bound already.
fn nothing_to_bind(soname: &str) -> Inventory<'_> {
    Inventory {
        soname,
        needed: Vec::new(),
        slots: Vec::new(),
        lifecycle: Lifecycle::default(),
        dynamic: Vec::new(),
        version_needs: Vec::new(),
        has_resolvers: false,
    }
}
