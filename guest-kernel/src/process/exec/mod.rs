//! execve(2): a new program in an old process (Linux: fs/exec.c, fs/binfmt_elf.c).
//!
//! The new image is built aside: headers checked, address space mapped (`load`), arguments
//! copied (`strings`, `stack`), all while the caller stays whole. `commit` then swaps it in and
//! cannot fail.

mod load;
mod stack;
mod strings;

pub use stack::Arguments;
pub use strings::Source;

use crate::arch;
use crate::errno::Errno;
use crate::fs::{Inode, ProgramFile};
use crate::kernel::Kernel;
use crate::memory::AddressSpace;
use crate::process::elf::Program;
use crate::process::exit::killed_by;
use crate::process::script::first_line;
use crate::process::signal::AlternateStack;
use crate::process::task::TaskId;
use alloc::boxed::Box;
use forkvm_abi::inspect::vma;
use forkvm_abi::layout::selector;
use forkvm_abi::pt_regs::PtRegs;
use linux_raw_sys::general::{self as uapi, AT_FDCWD};
use load::{dynamic_bias, interpreter_bias, map_program, prepare_pages};

/// Scripts whose interpreters are scripts, at most.
const SCRIPT_LEVELS: u32 = 5;
/// IF and the bit that is always set.
const INITIAL_RFLAGS: u64 = 0x202;

/// What is to run.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The file named by the caller.
    pub inode: Inode,
    /// Its name as AT_EXECFN shows it.
    pub name: Box<[u8]>,
    /// argv and envp.
    pub arguments: Arguments<'a>,
}

/// A complete new image that nobody uses yet.
struct NewImage {
    space: AddressSpace,
    entry: u64,
    stack_pointer: u64,
    exe: Inode,
}

/// Addresses that the auxiliary vector tells the program.
#[derive(Clone, Copy, Debug)]
struct Loaded {
    /// AT_PHDR.
    headers: u64,
    /// AT_PHNUM.
    header_count: u64,
    /// AT_BASE: where the interpreter is.
    interpreter_base: u64,
    /// AT_ENTRY: the program's own first instruction.
    entry: u64,
}

impl Kernel {
    /// execve(2): on success the task's registers are the new program's. On failure (ENOENT, EACCES, ENOEXEC, E2BIG,
    /// ENOMEM, ELOOP, EFAULT, ELIBBAD, EINVAL) the caller is as it was.
    pub fn execute(&mut self, task: TaskId, mut request: ExecRequest<'_>) -> Result<(), Errno> {
        self.program_file(request.inode)?;
        self.measure_arguments(task, &mut request)?;
        let (exe, file) = self.follow_scripts(task, &mut request)?;
        if exe != request.inode {
            self.measure_arguments(task, &mut request)?;
        }
        let program = Program::parse_head(&file.head(&self.frames), file.size)?;
        let image = self.build_image(task, exe, &file, &program, &request)?;
        drop(file);
        self.commit(task, image, &request.name);
        Ok(())
    }

    /// The file to be mapped: regular and executable by somebody. EACCES.
    fn program_file(&mut self, inode: Inode) -> Result<ProgramFile, Errno> {
        let file = self.fs.program(inode)?;
        if file.mode & 0o111 == 0 {
            Err(Errno::EACCES)
        } else {
            Ok(file)
        }
    }

    /// While the file is a script, its interpreter takes its place and its name becomes an argument. ELOOP, ENOEXEC.
    fn follow_scripts(
        &mut self,
        task: TaskId,
        request: &mut ExecRequest<'_>,
    ) -> Result<(Inode, ProgramFile), Errno> {
        let mut inode = request.inode;
        let mut name: Box<[u8]> = request.name.clone();
        for _ in 0..=SCRIPT_LEVELS {
            let file = self.program_file(inode)?;
            let head = file.head(&self.frames);
            let Some(line) = first_line(&head)? else {
                drop(head);
                return Ok((inode, file));
            };
            let (interpreter, argument): (Box<[u8]>, _) =
                (Box::from(line.interpreter), line.argument.map(Box::from));
            drop(head);
            request
                .arguments
                .put_interpreter_in_front(Box::clone(&interpreter), argument, name);
            inode = self.find_program(task, &interpreter)?;
            name = interpreter;
        }
        Err(Errno::ELOOP)
    }

    /// The file behind a path, as the task sees it. ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG.
    pub fn find_program(&self, task: TaskId, path: &[u8]) -> Result<Inode, Errno> {
        self.resolve_at(task, AT_FDCWD, path, 0)
    }

    /// Builds the new address space; on failure everything it took is given back.
    fn build_image(
        &mut self,
        task: TaskId,
        exe: Inode,
        file: &ProgramFile,
        program: &Program,
        request: &ExecRequest<'_>,
    ) -> Result<NewImage, Errno> {
        let interpreter = self.find_interpreter(task, file, program)?;
        let mut space =
            AddressSpace::new(&mut self.frames, self.kernel_half).map_err(|_| Errno::ENOMEM)?;
        space.limits = self.group(task).limits.of_space();
        match self.fill_image(
            task,
            &mut space,
            file,
            program,
            interpreter.as_ref(),
            request,
        ) {
            Ok((entry, stack_pointer)) => Ok(NewImage {
                space,
                entry,
                stack_pointer,
                exe,
            }),
            Err(errno) => {
                space.destroy(&mut self.frames);
                Err(errno)
            }
        }
    }

    /// The dynamic linker, if the program names one. ENOENT if it does not exist, ELIBBAD if it is no ELF file.
    fn find_interpreter(
        &mut self,
        task: TaskId,
        file: &ProgramFile,
        program: &Program,
    ) -> Result<Option<(ProgramFile, Program)>, Errno> {
        let Some(range) = program.interpreter.clone() else {
            return Ok(None);
        };
        let inode = self.find_program(task, &file.head(&self.frames)[range])?;
        let interpreter = self.program_file(inode)?;
        let parsed = Program::parse_head(&interpreter.head(&self.frames), interpreter.size)
            .map_err(|_| Errno::ELIBBAD)?;
        Ok(Some((interpreter, parsed)))
    }

    /// Maps program, interpreter and stack; returns first instruction and stack pointer.
    fn fill_image(
        &mut self,
        task: TaskId,
        space: &mut AddressSpace,
        file: &ProgramFile,
        program: &Program,
        interpreter: Option<&(ProgramFile, Program)>,
        request: &ExecRequest<'_>,
    ) -> Result<(u64, u64), Errno> {
        let bias = if program.relocatable {
            dynamic_bias(program)
        } else {
            0
        };
        let end = map_program(space, &mut self.frames, file, program, bias)?;
        space.set_break_start(end);
        let mut loaded = Loaded {
            headers: if program.headers == 0 {
                0
            } else {
                program.headers.wrapping_add(bias)
            },
            header_count: program.header_count,
            interpreter_base: 0,
            entry: program.entry.wrapping_add(bias),
        };
        let mut entry = loaded.entry;
        let protection = vma::READ
            | vma::WRITE
            | if program.executable_stack {
                vma::EXEC
            } else {
                0
            };
        self.map_stack(space, protection, request)?;
        if let Some((file, interpreter)) = interpreter {
            let base = interpreter_bias(space, &mut self.frames, interpreter)?;
            map_program(space, &mut self.frames, file, interpreter, base)?;
            loaded.interpreter_base = base;
            entry = interpreter.entry.wrapping_add(base);
        }
        let stack_pointer = self.fill_stack(task, space, request, &loaded)?;
        if arch::traps_are_costly() {
            prepare_pages(space, &mut self.frames, program, bias);
        }
        Ok((entry, stack_pointer))
    }

    /// The point of no return: nothing from here on can fail.
    ///
    /// What belongs to the old program goes: its other threads, memory, handlers, alternate stack, and descriptors marked
    /// close-on-exec. What belongs to the process stays: pid, parent, directory, mask, pending and ignored signals, limits.
    fn commit(&mut self, task: TaskId, image: NewImage, name: &[u8]) {
        self.become_only_thread(task);
        self.release_memory(task);
        let space = self.spaces.insert(image.space);
        self.unshare_files(task);
        self.unshare_handlers(task);

        let new = &mut self.tasks[task];
        new.space = Some(space);
        new.record.cr3 = self.spaces[space].cr3();
        new.record.first_vma = self.spaces[space].first_vma();
        new.record.regs = PtRegs {
            orig_rax: new.record.regs.orig_rax,
            rip: image.entry,
            cs: u64::from(selector::USER_CS),
            rflags: INITIAL_RFLAGS,
            rsp: image.stack_pointer,
            ss: u64::from(selector::USER_SS),
            ..PtRegs::default()
        };
        (new.record.fs_base, new.record.gs_base) = (0, 0);
        new.fpu.reset();
        new.fpu.load();
        arch::load_segment_bases(&new.record);
        new.set_name(name.rsplit(|byte| *byte == b'/').next().unwrap_or(name));
        new.robust_list = [0; 2];
        new.signals.alternate_stack = AlternateStack::default();

        let process = self.group_mut(task);
        process.exe = Some(image.exe);
        process.exit_signal = uapi::SIGCHLD;
        process.has_execed = true;
        process.dumpable = 1;
        self.frames.counters.execs += 1;
    }

    /// Ends the other threads. A thread that was not the leader takes the leader's place and pid.
    fn become_only_thread(&mut self, task: TaskId) {
        self.end_other_threads(task, killed_by(uapi::SIGKILL));
        let group = self.tasks[task].group;
        let old = self.groups[group].leader;
        if old != task {
            let leader = self.tasks.remove(old);
            self.tasks.rename(task, leader.record.pid);
            self.groups[group].others.clear();
            self.groups[group].leader = task;
        }
    }

    fn unshare_files(&mut self, task: TaskId) {
        let Some(mut table) = self.tasks[task].files else {
            return;
        };
        if self.fs.tables.references(table) > 1 {
            let own = self.fs.copy_table(table);
            self.fs.release_table(table);
            self.tasks[task].files = Some(own);
            table = own;
        }
        self.fs.close_on_exec(table);
        self.deliver_wakeups();
        self.fs.give_back_frames(&mut self.frames);
    }

    fn unshare_handlers(&mut self, task: TaskId) {
        let Some(handlers) = self.tasks[task].handlers else {
            return;
        };
        if self.handlers.references(handlers) > 1 {
            let own = self.handlers[handlers].without_handlers();
            drop(self.handlers.release(handlers));
            self.tasks[task].handlers = Some(self.handlers.insert(own));
        } else {
            self.handlers[handlers].reset();
        }
    }
}
