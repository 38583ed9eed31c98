//! Names for addresses of the guest kernel, from its ELF's symbol table. Read only after a crash.

use crate::embedded::KERNEL;
use elf::ElfBytes;
use elf::abi::STT_FUNC;
use elf::endian::LittleEndian;
use std::fmt::Write as _;

/// Functions of the guest kernel, by address.
#[derive(Debug)]
pub struct Symbols {
    functions: Vec<Function>,
}

#[derive(Debug)]
struct Function {
    start: u64,
    size: u64,
    name: &'static str,
}

impl Symbols {
    /// Reads the table; a damaged one has no names in it.
    pub fn of_kernel() -> Self {
        let mut functions = functions(KERNEL.elf).unwrap_or_default();
        functions.sort_by_key(|function| function.start);
        Self { functions }
    }

    /// `function+0x12/0x34` as Linux's %pS prints it, or the bare address.
    pub fn name(&self, address: u64) -> String {
        let before = self
            .functions
            .partition_point(|function| function.start <= address);
        let function = before.checked_sub(1).map(|index| &self.functions[index]);
        // Assembly has no sizes: there an address belongs to the symbol before it.
        match function
            .filter(|function| function.size == 0 || address - function.start < function.size)
        {
            Some(Function { start, size, name }) => {
                let mut text = format!(
                    "{:#}+{:#x}",
                    rustc_demangle::demangle(name),
                    address - start
                );
                if *size != 0 {
                    let _ = write!(text, "/{size:#x}");
                }
                text
            }
            None => format!("{address:#x}"),
        }
    }
}

fn functions(file: &'static [u8]) -> Option<Vec<Function>> {
    const STT_NOTYPE: u8 = 0;
    let parsed = ElfBytes::<LittleEndian>::minimal_parse(file).ok()?;
    let (table, names) = parsed.symbol_table().ok()??;
    let code = |address: u64| {
        KERNEL.segments.iter().any(|segment| {
            segment.executable
                && (segment.address..segment.address + segment.bytes).contains(&address)
        })
    };
    let named = table.iter().filter_map(|symbol| {
        let name = names.get(usize::try_from(symbol.st_name).ok()?).ok()?;
        let wanted = matches!(symbol.st_symtype(), STT_FUNC | STT_NOTYPE)
            && !name.is_empty()
            && code(symbol.st_value);
        wanted.then_some(Function {
            start: symbol.st_value,
            size: symbol.st_size,
            name,
        })
    });
    Some(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_the_kernel_get_names() {
        let symbols = Symbols::of_kernel();
        let name = symbols.name(KERNEL.symbols.boot_lstar);
        assert!(name.starts_with("boot_lstar+0x0"), "{name}");
    }

    #[test]
    fn other_addresses_stay_numbers() {
        let symbols = Symbols::of_kernel();
        for address in [0, 0x1000, u64::MAX] {
            assert_eq!(symbols.name(address), format!("{address:#x}"));
        }
    }
}
