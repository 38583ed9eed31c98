//! Shared kernel objects: a slot per object, a typed id, an explicit reference count.
//!
//! Linux objects such as an open file description or an address space are shared by
//! processes and freed by the last one. Freeing them needs the rest of the kernel (frames
//! go back, pipe readers wake up), so the count is explicit: [`Arena::release`] hands
//! the object back to the caller that dropped the last reference.
//!
//! Slots come in chunks of a fixed number, so that an arena grows by a bounded allocation however
//! many objects it holds: the kernel heap cannot be asked for more than its headroom at once.

use alloc::vec::Vec;
use core::marker::PhantomData;

/// Names an object of an [`Arena`]`<T>`.
pub struct Id<T> {
    slot: u32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// Position in the arena; unique among living objects.
    pub fn index(self) -> usize {
        self.slot as usize
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot
    }
}

impl<T> Eq for Id<T> {}

impl<T> core::fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "#{}", self.slot)
    }
}

#[derive(Debug)]
enum Slot<T> {
    Used { references: u32, object: T },
    Free { next: Option<u32> },
}

/// Slots of a chunk.
const CHUNK: usize = 32;

/// Objects of one type with reference counts.
#[derive(Debug)]
pub struct Arena<T> {
    chunks: Vec<Vec<Slot<T>>>,
    free: Option<u32>,
    used: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arena<T> {
    /// An empty arena.
    pub const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: None,
            used: 0,
        }
    }

    /// Takes an object in; its count is 1.
    pub fn insert(&mut self, object: T) -> Id<T> {
        let used = Slot::Used {
            references: 1,
            object,
        };
        let slot = match self.free {
            Some(slot) => {
                let place = self.slot_mut(slot);
                let Slot::Free { next } = *place else {
                    unreachable!("free list holds a used slot")
                };
                *place = used;
                self.free = next;
                slot
            }
            None => self.append(used),
        };
        self.used += 1;
        Id {
            slot,
            kind: PhantomData,
        }
    }

    fn append(&mut self, used: Slot<T>) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("there is one now");
        chunk.push(used);
        u32::try_from(before + chunk.len() - 1).expect("fewer than 2^32 objects")
    }

    fn slot(&self, slot: u32) -> &Slot<T> {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    fn slot_mut(&mut self, slot: u32) -> &mut Slot<T> {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// One more owner.
    pub fn share(&mut self, id: Id<T>) -> Id<T> {
        let Slot::Used { references, .. } = self.slot_mut(id.slot) else {
            panic!("shared object {id:?} is gone")
        };
        *references += 1;
        id
    }

    /// One owner less; the object itself if that was the last.
    #[must_use = "the last owner has to take the object apart"]
    pub fn release(&mut self, id: Id<T>) -> Option<T> {
        let Slot::Used { references, .. } = self.slot_mut(id.slot) else {
            panic!("released object {id:?} is gone")
        };
        *references -= 1;
        if *references > 0 {
            return None;
        }
        self.used -= 1;
        let next = self.free;
        let old = core::mem::replace(self.slot_mut(id.slot), Slot::Free { next });
        self.free = Some(id.slot);
        match old {
            Slot::Used { object, .. } => Some(object),
            Slot::Free { .. } => None,
        }
    }

    /// Number of owners.
    pub fn references(&self, id: Id<T>) -> u32 {
        match self.slot(id.slot) {
            Slot::Used { references, .. } => *references,
            Slot::Free { .. } => 0,
        }
    }

    /// Objects alive.
    pub fn len(&self) -> usize {
        self.used
    }

    /// No object is alive.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// All living objects, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks
            .iter_mut()
            .flatten()
            .filter_map(|slot| match slot {
                Slot::Used { object, .. } => Some(object),
                Slot::Free { .. } => None,
            })
    }

    /// All living objects.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        (0u32..)
            .zip(self.chunks.iter().flatten())
            .filter_map(|(slot, entry)| match entry {
                Slot::Used { object, .. } => Some((
                    Id {
                        slot,
                        kind: PhantomData,
                    },
                    object,
                )),
                Slot::Free { .. } => None,
            })
    }
}

impl<T> core::ops::Index<Id<T>> for Arena<T> {
    type Output = T;

    fn index(&self, id: Id<T>) -> &T {
        match self.slot(id.slot) {
            Slot::Used { object, .. } => object,
            Slot::Free { .. } => panic!("object {id:?} is gone"),
        }
    }
}

impl<T> core::ops::IndexMut<Id<T>> for Arena<T> {
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        match self.slot_mut(id.slot) {
            Slot::Used { object, .. } => object,
            Slot::Free { .. } => panic!("object {id:?} is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_owner_gets_the_object_back() {
        let mut arena = Arena::new();
        let id = arena.insert("pipe");
        arena.share(id);
        assert_eq!(arena.release(id), None);
        assert_eq!(arena.release(id), Some("pipe"));
        assert!(arena.is_empty());
    }

    #[test]
    fn many_objects_keep_their_places() {
        let mut arena = Arena::new();
        let ids: Vec<_> = (0..1000).map(|number| arena.insert(number)).collect();
        assert!(
            ids.iter()
                .enumerate()
                .all(|(number, id)| id.index() == number && arena[*id] == number)
        );
        assert_eq!(
            arena.iter().map(|(_, object)| *object).sum::<usize>(),
            499_500
        );
    }

    #[test]
    fn a_freed_slot_is_used_again() {
        let mut arena = Arena::new();
        let first = arena.insert(1);
        let second = arena.insert(2);
        assert_eq!(arena.release(first), Some(1));
        let third = arena.insert(3);
        assert_eq!(third.index(), first.index());
        assert_eq!((arena[second], arena[third], arena.len()), (2, 3, 2));
    }
}
