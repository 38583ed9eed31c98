//! Which memory an address means, for those who must recognise it in another space (futexes).

use super::space::AddressSpace;
use super::vma::Source;
use alloc::rc::Rc;
use forkvm_abi::inspect::vma as flag;

impl AddressSpace {
    /// Identity of the object that a shared mapping shows at `address`, and the offset in it; `None` where
    /// memory is the space's own.
    pub fn shared_place(&self, address: u64) -> Option<(u64, u64)> {
        let vma = self.vma_at(address).filter(|vma| vma.has(flag::SHARED))?;
        let object = match &vma.source {
            Source::Anonymous => return None,
            Source::Image { data, .. } => *data,
            Source::Shared(pages) | Source::Private(pages) => Rc::as_ptr(pages).addr() as u64,
        };
        Some((object, vma.offset_of(address)))
    }
}
