//! A state dict in the graph of an ONNX export of the same code.
//!
//! Each weight of the graph gets the tensor of its own name, of the module that its node's name tells
//! (`/down1/conv/Conv`), or else of its place and shape. Exporters join batch norm with the convolution before it; the
//! same is done with the state dict's numbers. What cannot be told apart is refused by name.

mod numbers;
mod slots;

use super::External;
use super::array::{Array, Kind};
use super::file::File;
use super::network::OnnxNetwork;
use crate::error::{Error, Result};
use crate::import::families;
use crate::import::tensors::StateDict;
use crate::known;
use crate::model::Model;
use crate::network::Choice;
use crate::recipe::Recipe;
use numbers::{join, transposed};
use slots::{Slot, drop_parts, holds, is_norm_of, slots};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// The export's network with the state dict's numbers.
pub(in crate::import) fn model(
    dict: &mut StateDict<'_>,
    export: &Path,
    choice: &Choice<'_>,
) -> Result<Model> {
    let at_export = |e: Error| e.one_line().at(&export.display().to_string());
    let bytes = std::fs::read(export).map_err(Error::io(export))?;
    if !super::is_onnx(&bytes) {
        return Err(at_export(Error::Model(
            "expected an ONNX file, an export of the code of the weights".into(),
        )));
    }
    let mut file = File::decode(bytes.into(), &mut External::beside(export)).map_err(at_export)?;
    families::set_aside(dict);
    let notes = Fill::new(&file, dict)?.run(&mut file)?;
    let network = OnnxNetwork::new(file.into(), choice)?;
    let mut model = known::complete(Model::of_network(Arc::new(network), Recipe::default()), choice)?;
    model.notes = notes;
    Ok(model)
}

struct Fill<'a, 'b> {
    dict: &'a mut StateDict<'b>,
    slots: Vec<Slot>,
    dims: BTreeMap<String, Vec<usize>>,
    /// Beginning of the names in the state dict.
    prefix: String,
    /// Parts of names that only the export has in front.
    dropped: usize,
    /// Whether names of modules in the export lack parts: those of a container that is not called itself.
    is_loose: bool,
}

impl<'a, 'b> Fill<'a, 'b> {
    fn new(file: &File, dict: &'a mut StateDict<'b>) -> Result<Fill<'a, 'b>> {
        let dims: BTreeMap<String, Vec<usize>> = file
            .constants
            .iter()
            .filter(|(_, array)| array.kind == Kind::Float && array.len() > 0)
            .map(|(name, array)| (name.clone(), array.dims.clone()))
            .collect();
        let slots: Vec<Slot> = file.graph.node.iter().flat_map(|node| slots(node, &dims)).collect();
        let mut fill = Fill { dict, slots, dims, prefix: String::new(), dropped: 0, is_loose: false };
        fill.choose_prefix()?;
        Ok(fill)
    }

    /// The prefix under which most weights of the graph are found.
    fn choose_prefix(&mut self) -> Result<()> {
        let mut best = (0, String::new(), 0);
        let part = self.dict.part.clone().map(|part| format!("{part}."));
        for prefix in self.dict.prefixes() {
            if part.as_ref().is_some_and(|part| !prefix.starts_with(part)) {
                continue;
            }
            for dropped in 0..3 {
                let found = self.count(&prefix, dropped);
                if found > best.0 {
                    best = (found, prefix.clone(), dropped);
                }
            }
        }
        (self.prefix, self.dropped) = match &best {
            (0, ..) => (part.unwrap_or_else(|| self.dict.common_prefix()), 0),
            (_, prefix, dropped) => (prefix.clone(), *dropped),
        };
        // The containers of the modules, from the outermost on.
        let ends = best.1.match_indices('.').map(|(dot, _)| dot + 1);
        let outer: Vec<String> = std::iter::once(0).chain(ends).map(|end| best.1[..end].into()).collect();
        if best.0 < self.slots.len() {
            self.is_loose = true;
            let found = outer.into_iter().find(|prefix| self.count(prefix, 0) > best.0);
            self.is_loose = found.is_some();
            if let Some(prefix) = found {
                (self.prefix, self.dropped) = (prefix, 0);
            }
        }
        Ok(())
    }

    /// The number of weights that are found below a prefix.
    fn count(&self, prefix: &str, dropped: usize) -> usize {
        self.slots.iter().filter(|slot| self.by_name(slot, prefix, dropped).is_some()).count()
    }

    /// The tensor that a weight's own name or its node's names.
    fn by_name(&self, slot: &Slot, prefix: &str, dropped: usize) -> Option<(String, bool)> {
        let own = drop_parts(&slot.constant, dropped).map(|name| format!("{prefix}{name}"));
        if let Some(name) = own.filter(|name| self.fits(slot, name, false)) {
            return Some((name, false));
        }
        // The exporter's own constants, such as the ones and zeros of a decomposed norm, have a path as their name.
        let module = drop_parts(&slot.module, dropped).filter(|_| !slot.constant.starts_with('/'))?;
        let name = format!("{prefix}{module}.{}", slot.part);
        let turned = slot.op == "MatMul";
        if !self.is_loose || self.dict.has(&name) {
            return self.fits(slot, &name, turned).then_some((name, turned));
        }
        let is_named = |name: &&str| {
            name.strip_prefix(prefix)
                .and_then(|name| name.strip_suffix(slot.part)?.strip_suffix('.'))
                .is_some_and(|own| holds(own, module) && self.fits(slot, name, turned))
        };
        let mut named = self.dict.names().filter(is_named);
        let one = named.next().filter(|_| named.next().is_none())?;
        Some((one.into(), turned))
    }

    /// Whether a tensor has the shape of a weight, apart from extents of 1.
    fn fits(&self, slot: &Slot, name: &str, turned: bool) -> bool {
        let Some(shape) = self.dict.shape(name) else { return false };
        let without = |dims: &[usize]| dims.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
        let mut own = without(shape);
        if turned {
            own.reverse();
        }
        own == without(&self.dims[&slot.constant])
    }

    /// Puts the numbers into the file, and returns what to say of them.
    fn run(self, file: &mut File) -> Result<Vec<String>> {
        let mut found: Vec<Option<(String, bool)>> =
            self.slots.iter().map(|slot| self.by_name(slot, &self.prefix, self.dropped)).collect();
        let named = found.iter().flatten().count();
        self.by_place(&mut found)?;
        let norms = self.norms(&found)?;
        let mut used = BTreeSet::new();
        let mut filled: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
        let slots = self.slots.clone();
        for (i, slot) in slots.iter().enumerate() {
            let Some((name, turned)) = &found[i] else { continue };
            used.insert(name.clone());
            let mut weight = self.dict.floats(name)?;
            let dims = self.dims[&slot.constant].clone();
            if *turned {
                weight = transposed(&weight, &dims);
            }
            let module = name.trim_end_matches("weight").to_string();
            let bias_name = format!("{module}bias");
            if let Some(bias) = &slot.bias {
                let outs = self.dims[bias].iter().product();
                let mut values = match self.dict.has(&bias_name) {
                    true => self.dict.floats(&bias_name)?,
                    false if norms.contains_key(&i) => vec![0.0; outs],
                    false => {
                        return Err(Error::Model(format!(
                            "the state dict has no {bias_name}, which the export needs"
                        )));
                    }
                };
                used.insert(bias_name);
                if let Some(norm) = norms.get(&i) {
                    let parts =
                        ["weight", "bias", "running_mean", "running_var"].map(|part| format!("{norm}{part}"));
                    let numbers: Vec<Vec<f32>> =
                        parts.iter().map(|part| self.dict.floats(part)).collect::<Result<_>>()?;
                    let old = file.constants[&slot.constant].floats().into_owned();
                    let axis = usize::from(slot.op == "ConvTranspose");
                    join(&mut weight, &mut values, &dims, axis, &numbers, &old);
                    used.extend(parts);
                }
                filled.push((bias.clone(), self.dims[bias].clone(), values));
            }
            filled.push((slot.constant.clone(), dims, weight));
        }
        let left: Vec<&str> = self
            .dict
            .names()
            .filter(|name| name.starts_with(&self.prefix) && !used.contains(*name))
            .collect();
        let kernels = self.slots.iter().filter(|slot| slot.is_kernel());
        let all_named = kernels.clone().all(|slot| self.by_name(slot, &self.prefix, self.dropped).is_some());
        let unused: Option<BTreeSet<String>> = left.iter().map(|name| self.unused(name, &used)).collect();
        let unused = match (unused.filter(|_| all_named), &left[..]) {
            (Some(unused), _) => unused,
            (None, [first, ..]) => {
                return Err(Error::Model(format!(
                    "{first} ({} in all) has no place in the export: is it of the same code and settings?",
                    left.len()
                )));
            }
            (None, []) => BTreeSet::new(),
        };
        let count = filled.len();
        for (name, dims, values) in filled {
            file.constants.insert(name, Array::of_floats(dims, values)?);
        }
        let mut note = format!("{count} weights of the export are filled, {named} of them by name");
        if !norms.is_empty() {
            note.push_str(&format!(
                ", {} with the batch norm behind them (epsilon as exported, else 1e-5)",
                norms.len()
            ));
        }
        if !unused.is_empty() {
            let names: Vec<String> = unused.into_iter().map(|module| format!("{module}*")).collect();
            note.push_str(&format!("; the export does not run {}", names.join(", ")));
        }
        Ok(vec![note])
    }

    /// The module, with convolutions or matrices of its own, that a tensor belongs to and of which nothing is used.
    fn unused(&self, name: &str, used: &BTreeSet<String>) -> Option<String> {
        let prefixes = name.match_indices('.').map(|(dot, _)| &name[..=dot]);
        let is_used = |prefix: &&str| used.iter().any(|used| used.starts_with(*prefix));
        let module = prefixes.into_iter().find(|prefix| !is_used(prefix))?;
        let has_kernel = self.dict.names().any(|name| name.starts_with(module) && self.rank(name) > 1);
        has_kernel.then(|| module.to_string())
    }

    /// Finds tensors for the weights that names do not tell: as many in the same order with the same shapes, or the
    /// only one of its shape.
    fn by_place(&self, found: &mut [Option<(String, bool)>]) -> Result<()> {
        let open: Vec<usize> = (0..found.len()).filter(|&i| found[i].is_none()).collect();
        let (kernels, vectors): (Vec<usize>, Vec<usize>) =
            open.into_iter().partition(|&i| self.slots[i].is_kernel());
        let free: Vec<&str> = self.free(found).into_iter().filter(|name| self.rank(name) > 1).collect();
        let turned = |i: usize| self.slots[i].op == "MatMul";
        let in_order = kernels.len() == free.len()
            && kernels.iter().zip(&free).all(|(&i, name)| self.fits(&self.slots[i], name, turned(i)));
        for (at, &i) in kernels.iter().enumerate() {
            let slot = &self.slots[i];
            let fitting: Vec<&str> = match in_order {
                true => vec![free[at]],
                false => free.iter().copied().filter(|name| self.fits(slot, name, turned(i))).collect(),
            };
            let rivals =
                kernels.iter().filter(|&&k| self.dims[&self.slots[k].constant] == self.dims[&slot.constant]);
            match fitting[..] {
                [name] if in_order || rivals.count() == 1 => found[i] = Some((name.into(), turned(i))),
                [] => {
                    return Err(Error::Model(format!(
                        "no tensor of the state dict fits {} {:?} of the export: is it of the same code and settings?",
                        slot.constant, self.dims[&slot.constant]
                    )));
                }
                _ => {
                    return Err(Error::Model(format!(
                        "{} of the export may be any of {}: export again with names (torch.onnx.export keeps them)",
                        slot.constant,
                        fitting.iter().take(4).copied().collect::<Vec<_>>().join(", ")
                    )));
                }
            }
        }
        // Vectors of norms and slopes, if all that are left agree in order, size and part. The others are numbers of
        // the code itself.
        let is_own = |name: &&str| {
            let (module, part) = name.rsplit_once('.').unwrap_or(("", name));
            let is_bias_of_kernel = part == "bias" && self.rank(&format!("{module}.weight")) > 1;
            self.rank(name) == 1 && !is_bias_of_kernel && !self.dict.has(&format!("{module}.running_mean"))
        };
        let own: Vec<&str> = self.free(found).into_iter().filter(is_own).collect();
        let fits = |(&i, name): (&usize, &&str)| {
            name.ends_with(self.slots[i].part) && self.fits(&self.slots[i], name, false)
        };
        let vectors: Vec<usize> =
            vectors.into_iter().filter(|i| own.iter().any(|name| fits((i, name)))).collect();
        if own.len() == vectors.len() && vectors.iter().zip(&own).all(fits) {
            let own: Vec<String> = own.into_iter().map(String::from).collect();
            vectors.into_iter().zip(own).for_each(|(i, name)| found[i] = Some((name, false)));
        }
        Ok(())
    }

    /// Tensors below the prefix that no weight has, in the order of the file.
    fn free(&self, found: &[Option<(String, bool)>]) -> Vec<&str> {
        let taken: BTreeSet<&str> = found.iter().flatten().map(|(name, _)| name.as_str()).collect();
        let all = self.dict.tensors();
        let mut free: Vec<(usize, &str)> = all
            .filter(|(name, _)| name.starts_with(&self.prefix) && !taken.contains(name))
            .map(|(name, stored)| (stored.order, name))
            .collect();
        free.sort();
        free.into_iter().map(|(_, name)| name).collect()
    }

    fn rank(&self, name: &str) -> usize {
        self.dict.shape(name).map_or(0, <[usize]>::len)
    }

    /// The batch norms that the export has joined with a convolution, by the place of that convolution's slot: the
    /// beginning of the norm's names.
    fn norms(&self, found: &[Option<(String, bool)>]) -> Result<BTreeMap<usize, String>> {
        let taken: BTreeSet<&String> = found.iter().flatten().map(|(name, _)| name).collect();
        let mut absent: Vec<(usize, String)> = self
            .dict
            .tensors()
            .filter(|(name, _)| name.starts_with(&self.prefix) && !taken.contains(&name.to_string()))
            .filter_map(|(name, stored)| Some((stored.order, name.strip_suffix("running_mean")?.to_string())))
            .collect();
        absent.sort();
        if absent.is_empty() {
            return Ok(BTreeMap::new());
        }
        let orders: BTreeMap<&str, usize> =
            self.dict.tensors().map(|(name, stored)| (name, stored.order)).collect();
        let order = |i: &usize| found[*i].as_ref().and_then(|(name, _)| orders.get(name.as_str()).copied());
        let has_bias = |i: usize| {
            let name = found[i].as_ref().map(|(name, _)| format!("{}bias", name.trim_end_matches("weight")));
            name.is_some_and(|name| self.dict.has(&name))
        };
        let convs = |is_candidate: &dyn Fn(usize) -> bool| {
            let is_conv = |&i: &usize| {
                self.slots[i].bias.is_some() && self.slots[i].op.starts_with("Conv") && is_candidate(i)
            };
            let mut convs: Vec<usize> = (0..found.len()).filter(is_conv).collect();
            convs.sort_by_key(order);
            convs
        };
        let channels =
            |i: usize| self.dims[&self.slots[i].constant][usize::from(self.slots[i].op == "ConvTranspose")];
        let fits = |i: usize, norm: &str| {
            self.dict.shape(&format!("{norm}running_mean")).is_some_and(|shape| shape == [channels(i)])
        };
        // By names such as conv1 and bn1, or 0 and 1 in a sequence.
        let joined = convs(&|i| self.slots[i].is_joined);
        let by_name = |&i: &usize| {
            let (name, _) = found[i].as_ref()?;
            let (_, norm) = absent.iter().find(|(_, norm)| is_norm_of(norm, name) && fits(i, norm))?;
            Some((i, norm.clone()))
        };
        let paired: Option<BTreeMap<usize, String>> = joined.iter().map(by_name).collect();
        if let Some(paired) = paired.filter(|paired| !paired.is_empty()) {
            return Ok(paired);
        }
        // By the names that exporters leave, by a bias that only the export has, or all.
        for candidates in [convs(&|i| self.slots[i].is_joined), convs(&|i| !has_bias(i)), convs(&|_| true)] {
            if candidates.len() == absent.len()
                && candidates.iter().zip(&absent).all(|(&i, (_, norm))| fits(i, norm))
            {
                return Ok(candidates.into_iter().zip(absent).map(|(i, (_, norm))| (i, norm)).collect());
            }
        }
        Err(Error::Model(format!(
            "it is unclear which convolution of the export holds the batch norm {} ({} in all): export again with \
             training=torch.onnx.TrainingMode.PRESERVE and do_constant_folding=False",
            absent[0].1.trim_end_matches('.'),
            absent.len()
        )))
    }
}
