/* SPDX-License-Identifier: MIT */
/*
 * Loaded before the C library, this is code that has got into the mount
 * process: when the mount makes a symlink, a thread that serves tries what an
 * intruder would, and writes to INTRUDER_REPORT what came of it, a line of name
 * and errno for each.  INTRUDER_VAULT is the vault, INTRUDER_FILE a file that
 * anybody may write to.  With INTRUDER_READS it tries to change the vault when
 * the mount reads a symlink.
 *
 * With NO_LANDLOCK or NO_SECCOMP in the environment the kernel has none.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int report = -1;
static char vault[4096];
static char file[4096];
static int no_landlock;
static int no_seccomp;
static int read_only;

__attribute__((constructor)) static void begin(void)
{
	const char *to = getenv("INTRUDER_REPORT");

	no_landlock = getenv("NO_LANDLOCK") != NULL;
	no_seccomp = getenv("NO_SECCOMP") != NULL;
	read_only = getenv("INTRUDER_READS") != NULL;
	if (!to)
		return;
	report = open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	(void)snprintf(vault, sizeof(vault), "%s", getenv("INTRUDER_VAULT"));
	(void)snprintf(file, sizeof(file), "%s", getenv("INTRUDER_FILE"));
}

/* What the product calls Landlock with, and libseccomp its filter. */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	va_list args;
	long a[6];

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	if ((no_landlock && number == 444) || (no_seccomp && number == SYS_seccomp)) {
		errno = no_landlock ? ENOSYS : EINVAL;
		return -1;
	}
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int prctl(int what, ...)
{
	static int (*real)(int, ...);
	va_list args;
	long a[4];

	va_start(args, what);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "prctl");
	if (no_seccomp && (what == PR_SET_SECCOMP || what == PR_GET_SECCOMP)) {
		errno = EINVAL;
		return -1;
	}
	return real(what, a[0], a[1], a[2], a[3]);
}

static void say(const char *name, long result)
{
	char line[128];
	int error = result < 0 ? errno : 0;
	int size = snprintf(line, sizeof(line), "%s %d\n", name, error);

	(void)!write(report, line, (size_t)size);
}

static void try_open(const char *name, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	say(name, fd);
	if (fd >= 0)
		(void)close(fd);
}

static void try_files(void)
{
	char path[4200];

	try_open("open-passwd", "/etc/passwd", O_RDONLY);
	try_open("open-root", "/", O_RDONLY | O_DIRECTORY);
	try_open("open-memory", "/proc/self/mem", O_RDWR);
	try_open("open-fuse", "/dev/fuse", O_RDWR);
	try_open("write-file", file, O_WRONLY);
	(void)snprintf(path, sizeof(path), "%s.new", file);
	try_open("create-file", path, O_WRONLY | O_CREAT);
	say("rename-file", renameat(AT_FDCWD, file, AT_FDCWD, path));
	say("remove-file", unlinkat(AT_FDCWD, file, 0));
	say("truncate-file", truncate(file, 0));
	(void)snprintf(path, sizeof(path), "%s/cryptfs.conf", vault);
	try_open("open-configuration", path, O_RDONLY);
	(void)snprintf(path, sizeof(path), "%s/tree", vault);
	try_open("open-tree", path, O_RDONLY | O_DIRECTORY);
	(void)snprintf(path, sizeof(path), "%s/tree/.cryptfs-dir", vault);
	try_open("open-record", path, O_RDONLY);
	say("execute-record", execl(path, path, (char *)NULL));
}

static void try_connect(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	say("socket-inet", fd);
	if (fd >= 0) {
		say("connect", connect(fd, (struct sockaddr *)&a, sizeof(a)));
		(void)close(fd);
	}
	say("socket-unix-stream", socket(AF_UNIX, SOCK_STREAM, 0));
	say("socket-netlink", socket(AF_NETLINK, SOCK_RAW, 0));
}

static void try_processes(void)
{
	static char *const none[] = { NULL };
	char byte;
	struct iovec here = { &byte, 1 };
	struct iovec there = { &report, 1 };
	long pid;

	say("execve", execve("/bin/true", none, none));
	pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	say("fork", pid);
	say("clone3", syscall(SYS_clone3, NULL, 0));
	say("ptrace", ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
	say("process-vm-readv", process_vm_readv(getppid(), &here, 1, &there, 1, 0));
	say("kill", kill(getppid(), 0));
	say("pidfd-open", syscall(SYS_pidfd_open, getppid(), 0));
	say("setns", syscall(SYS_setns, -1, 0));
	if (!no_seccomp) /* it would keep the mount */
		say("unshare", unshare(CLONE_NEWNS));
}

static void try_system(void)
{
	say("mount", mount("none", vault, "none", 0, NULL));
	say("umount", umount2("/nothing", MNT_DETACH));
	say("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	say("open-tree-call", syscall(SYS_open_tree, AT_FDCWD, "/", 0));
	say("move-mount", syscall(SYS_move_mount, -1, "", -1, "", 0));
	say("chroot", chroot("/"));
	say("init-module", syscall(SYS_init_module, NULL, 0, ""));
	say("bpf", syscall(SYS_bpf, 0, NULL, 0));
	say("io-uring", syscall(SYS_io_uring_setup, 1, NULL));
	say("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	say("keyctl", syscall(SYS_keyctl, 0, 0));
	say("open-by-handle", syscall(SYS_open_by_handle_at, -1, NULL, 0));
	say("setuid", syscall(SYS_setuid, 0));
	say("userfaultfd", syscall(SYS_userfaultfd, 0));
	say("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
}

static void try_itself(void)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	say("map-memory", page == MAP_FAILED ? -1 : 0);
	say("make-executable", mprotect(page, 4096, PROT_READ | PROT_EXEC));
	page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	say("map-executable", page == MAP_FAILED ? -1 : 0);
	say("dumpable", prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	say("core-limit", setrlimit(RLIMIT_CORE, &all));
}

/* Where nothing is to be changed: when the mount reads a symlink. */
ssize_t readlinkat(int dirfd, const char *name, char *text, size_t size)
{
	char path[4200];

	if (report >= 0 && read_only) {
		(void)snprintf(path, sizeof(path), "%s/tree/.cryptfs-dir", vault);
		try_open("open-record", path, O_RDONLY);
		try_open("write-record", path, O_RDWR);
		(void)snprintf(path, sizeof(path), "%s/tree/new", vault);
		try_open("create-in-tree", path, O_WRONLY | O_CREAT);
		say("make-directory", mkdirat(AT_FDCWD, path, 0700));
		(void)close(report);
		report = -1;
	}
	return (ssize_t)syscall(SYS_readlinkat, dirfd, name, text, size);
}

int symlinkat(const char *target, int dirfd, const char *name)
{
	if (report >= 0 && !read_only) {
		try_files();
		try_connect();
		try_processes();
		try_system();
		try_itself();
		(void)close(report);
		report = -1;
	}
	return (int)syscall(SYS_symlinkat, target, dirfd, name);
}
