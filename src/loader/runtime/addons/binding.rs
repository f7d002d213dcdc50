//! Relinking one add-on: it means the host's V8 by V8's names, and the guest and its libraries by Node's, whatever the
//! process exports. All that is read of these is in memory; only names that the guest hides are in its file.
//!
//! No gate stands here: the guest's passed for this V8, and Node itself refuses an add-on that was compiled for another
//! `NODE_MODULE_VERSION`.
//!
//! # Safety
//! The copy is planned for the very image that is loaded, none of whose code runs before every slot is bound.

use crate::guest::copy::plan_copy;
use crate::guest::stage::{self, Source, Staged};
use crate::guest::{closure, Inventory, Lifecycle};
use crate::host::Exports;
use crate::patch::live::LiveMemory;
use crate::patch::{apply, by_page, Memory};
use crate::plan::{
    place, plan, Guard, Member, Placement, Plan, Request, StagedDefinitions, StagedImage, Why,
};
use crate::process::{Maps, Modules};
use relink_abi::adapters::Adapter;
use relink_abi::error::Error;
use relink_abi::symbol::is_run_time;
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
    /// The guest first, its libraries in the order in which symbols are looked up, the bridge.
    pub images: Vec<Known>,
    /// The module that provides V8: its name for messages, and where it is.
    pub provider: (String, LoadBias),
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

/// An add-on's file, read.
struct AddOn<'a, 'd> {
    file: &'a FileOnDisk,
    image: &'a FileImage<'d>,
    inventory: Inventory<'d>,
    definitions: Definitions<'a, 'd>,
}

impl World {
    /// Loads and binds a private copy of the add-on in this file; none of its code has run. `None`: it is no add-on, or not
    /// even a library for this machine, which is for ld.so to say. `whom` its symbols serve says [`stage::load_for`].
    pub fn relink(&self, file: &FileOnDisk, whom: c_int) -> Result<Option<Staged>, Error> {
        let broken = |source| Error::AddOnImage { path: file.path.clone(), source };
        let image = match FileImage::parse(&file.bytes, Arch::native()) {
            Err(ElfError::NotElf { .. } | ElfError::Unsuitable { .. }) => return Ok(None),
            parsed => parsed.map_err(broken)?,
        };
        let addon = AddOn::read(file, &image).map_err(broken)?;
        let registers = addon.registers().map_err(broken)?;
        self.look(&self.hidden_names(&addon.inventory), |live| {
            let plan = self.plan(&addon, live)?;
            if registers || plan.bindings.iter().any(|b| is_of_node(b.why)) {
                self.load(&addon, &plan, whom).map(Some)
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

    /// Reads the images in memory. `hidden` names are also looked for in the guest's file.
    fn look<T>(
        &self,
        hidden: &HashSet<&str>,
        ask: impl FnOnce(&Live) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let maps = Maps::own().map_err(|source| Error::Proc { what: "/proc/self/maps", source })?;
        let modules = Modules::observe();
        let (name, bias) = &self.provider;
        let provider = image_at(&modules, &maps, *bias).map_err(|e| unreadable(name, e))?;
        let provider = exports(&provider, *bias).map_err(|e| unreadable(name, e))?;
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

    /// The names that may be looked for among those that the guest hides: libuv's and, where the add-on has no libraries of
    /// its own, all that it expects of the program that loads it.
    fn hidden_names<'d>(&self, inventory: &Inventory<'d>) -> HashSet<&'d str> {
        let alone = inventory.needed.iter().all(|name| is_run_time(name) || self.is_guest(name));
        let expected = inventory.slots.iter().filter(|s| s.own.is_none() && s.library.is_none() && !s.weak);
        expected.map(|s| s.symbol).filter(|name| alone || name.starts_with("uv_")).collect()
    }

    fn is_guest(&self, library: &str) -> bool {
        self.images.iter().any(|known| known.image == StagedImage::Guest && known.soname == library)
    }

    fn plan<'l>(&self, addon: &'l AddOn<'l, 'l>, live: &Live<'l>) -> Result<Plan<'l>, Error> {
        let adapted = self.images.iter().any(|known| known.image == StagedImage::Unit);
        if let Some(symbol) = addon.inventory.needed_v8().next().filter(|_| adapted) {
            let path = addon.file.path.clone();
            return Err(Error::AddOnOfOtherV8 { path, symbol: symbol.to_owned() });
        }
        let mut members = live.members.clone();
        members.push(Member {
            image: StagedImage::AddOn,
            inventory: &addon.inventory,
            definitions: &addon.definitions,
        });
        let planned = plan(&Request {
            members: &members,
            needs: &|_| false,
            provider: live.provider,
            provider_name: &self.provider.0,
            adapters: &self.adapters,
            guards: &self.guards,
        });
        planned.map_err(|error| match error {
            Error::MissingSymbols { names, .. } | Error::Unresolved { names } => {
                Error::AddOnNeeds { path: addon.file.path.clone(), names }
            }
            other => other,
        })
    }

    fn load(&self, addon: &AddOn, plan: &Plan, whom: c_int) -> Result<Staged, Error> {
        let path = &addon.file.path;
        let rewrites = plan.bindings.iter().map(|b| (&b.slot, b.rewrite()));
        let copy = plan_copy(addon.image, &addon.inventory, rewrites, &|name| self.is_guest(name));
        let copy = copy.map_err(|at| Error::Stage {
            what: path.display().to_string(),
            why: format!("its file has no bytes for link-time address {at}"),
        })?;
        let broken = |source| Error::AddOnImage { path: path.clone(), source };
        for library in closure::by_own_path(addon.file).map_err(broken)? {
            // SAFETY: a library that the add-on was linked with; ld.so would load it as well.
            unsafe { stage::load_dependency(&library) }?;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("add-on");
        let file = Some(&addon.file.file);
        let source = Source { file: addon.image, inventory: &addon.inventory, on_disk: file, name };
        // SAFETY: the copy was planned for this image.
        let staged = unsafe { stage::load_for(source, &copy, whom) }?;
        match self.bind(plan, &staged) {
            Ok(()) => Ok(staged),
            Err(error) => {
                staged.discard();
                Err(error)
            }
        }
    }

    fn bind(&self, plan: &Plan, staged: &Staged) -> Result<(), Error> {
        let mut biases: BTreeMap<_, _> = self.images.iter().map(|known| (known.image, known.bias)).collect();
        biases.insert(StagedImage::AddOn, staged.bias);
        // SAFETY: the image is loaded, none of its code has run, and nobody else knows it.
        let memory = unsafe { LiveMemory::new(vec![staged.span.clone()]) };
        let mut memory = memory.map_err(|source| Error::Proc { what: "/proc/self/maps", source })?;
        let pages = by_page(place(plan, &Placement(biases)), memory.page_size());
        apply(&mut memory, &pages).map(drop)
    }
}

impl<'a, 'd> AddOn<'a, 'd> {
    fn read(file: &'a FileOnDisk, image: &'a FileImage<'d>) -> Result<Self, ElfError> {
        let exports = exports(&image.image, LoadBias(0))?;
        let definitions = Definitions { exports, hidden: HashMap::new() };
        Ok(Self { file, image, inventory: Inventory::read(image)?, definitions })
    }

    /// Whether it has Node-API's entry, by which an add-on is known that refers to nothing of Node's but by `dlsym`.
    fn registers(&self) -> Result<bool, ElfError> {
        const ENTRY: &str = "napi_register_module_v1";
        Ok(self.definitions.link(ENTRY, None)?.is_some())
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
