//! What `ls -l` says of a file, in the columns of POSIX's ls.

use core::ffi::CStr;
use core::fmt::Write;
use rt::print::Output;
use rt::syscall::{S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, Stat, readlink};

/// `drwxr-xr-x  2 0 0      4096 2026-01-31 23:59 `; times are UTC.
pub(crate) fn show_columns(output: &mut Output, stat: &Stat) {
    let mode = mode_letters(stat.mode);
    output.push(&mode);
    let _ = write!(output, " {:>2} {} {} ", stat.nlink, stat.uid, stat.gid);
    if stat.mode & S_IFMT == S_IFCHR {
        let _ = write!(
            output,
            "{:>4}, {:>4} ",
            stat.rdev >> 8 & 0xfff,
            stat.rdev & 0xff
        );
    } else {
        let _ = write!(output, "{:>10} ", stat.size);
    }
    let seconds = stat.mtime[0];
    let (year, month, day) = date(seconds.div_euclid(86_400));
    let minute = seconds.rem_euclid(86_400) / 60;
    let _ = write!(
        output,
        "{year:04}-{month:02}-{day:02} {:02}:{:02} ",
        minute / 60,
        minute % 60
    );
}

/// ` -> target` for a symbolic link.
pub(crate) fn show_link(output: &mut Output, directory: Option<i32>, name: &CStr) {
    let mut target = [0; 4096];
    // It fails for everything that is no symbolic link.
    if let Ok(length) = readlink(directory, name, &mut target) {
        output.push(b" -> ");
        output.push(&target[..length]);
    }
}

fn mode_letters(mode: u32) -> [u8; 10] {
    let mut letters = *b"-rwxrwxrwx";
    letters[0] = match mode & S_IFMT {
        S_IFDIR => b'd',
        S_IFCHR => b'c',
        S_IFLNK => b'l',
        S_IFIFO => b'p',
        _ => b'-',
    };
    for (bit, letter) in letters[1..].iter_mut().enumerate() {
        if mode & (0o400 >> bit) == 0 {
            *letter = b'-';
        }
    }
    letters
}

/// Year, month and day of a day counted from 1970-01-01, by Howard Hinnant's civil_from_days: years that
/// start in March put the leap day last, and 400 of them are always 146,097 days.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}
