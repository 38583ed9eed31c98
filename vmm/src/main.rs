//! forkvm
use forkvm::config::*;
use forkvm::program::Program;
fn main() {
    env_logger::init();
    let t = forkvm::stats::Timeline::start();
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let launch = args.first().map(|p| Launch {
        program: Program::resolve(p).unwrap(),
        arguments: args.clone(),
        environment: vec!["PATH=/bin".into()],
    });
    let platform = match std::env::var("P").as_deref() {
        Ok("ring0") => forkvm_abi::boot::PlatformChoice::Ring0,
        Ok("monitor") => forkvm_abi::boot::PlatformChoice::Monitor,
        _ => forkvm_abi::boot::PlatformChoice::Auto,
    };
    let config = VmConfig {
        memory: DEFAULT_MEMORY,
        platform,
        launch,
        exit_with_first: false,
        verbose: true,
        timeout: std::env::var("T").ok().map(|s| parse_seconds(&s).unwrap()),
        output_to_stderr: false,
    };
    let mut vm = match forkvm::vm::Vm::build(&config, t) {
        Ok(vm) => vm,
        Err(e) => {
            eprintln!("forkvm: {e}");
            std::process::exit(125)
        }
    };
    vm.take_signals(&config).unwrap();
    let end = vm.run();
    eprintln!("{end:?} {:?}", vm.exits.iter().collect::<Vec<_>>());
    eprintln!("{:?}", vm.timeline.phases());
    let s = vm.vcpu.get_sregs().unwrap();
    eprintln!(
        "{:x?} cr2 {:x} cr3 {:x} cs {:x}",
        vm.vcpu.get_regs().unwrap(),
        s.cr2,
        s.cr3,
        s.cs.selector
    );
    if let forkvm::vm::Ending::End(forkvm::exit::End::Exited(status)) = end {
        std::process::exit((status >> 8) as i32)
    }
    std::process::exit(125)
}
