/* SPDX-License-Identifier: MIT */
/*
 * What the mount process gives up: see confine.h for the contract.
 *
 * Landlock decides on open(2) and on making, moving and removing entries; it
 * does not look at descriptors that are open already, at O_PATH, nor at
 * attributes.  The seccomp filter is a list of what is allowed; all but a few
 * entries look at the number only, which the kernel remembers (since 5.11), so
 * that they cost next to nothing.  What is not on it answers ENOSYS, as a
 * system call that the kernel does not have.
 */
#include "fs/confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "base/sanitized.h"

/* ---- Landlock -------------------------------------------------------------- */

/* linux/landlock.h of the oldest supported build knows too few of these. */
#ifndef SYS_landlock_create_ruleset
enum {
	SYS_landlock_create_ruleset = 444,
	SYS_landlock_add_rule = 445,
	SYS_landlock_restrict_self = 446,
};
#endif

enum {
	CREATE_RULESET_VERSION = 1,
	RULE_PATH_BENEATH = 1,
	ABI_WITH_REFER = 2, /* before, nothing may be renamed into another directory */
	ABI_WITH_TRUNCATE = 3,
	ABI_WITH_NET = 4,
	ABI_WITH_IOCTL_DEV = 5,
	ABI_WITH_SCOPES = 6,
};

enum {
	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_DIR = 1 << 4,
	FS_REMOVE_FILE = 1 << 5,
	FS_UP_TO_MAKE_SYM = (1 << 13) - 1,
	FS_REFER = 1 << 13,
	FS_TRUNCATE = 1 << 14,
	FS_IOCTL_DEV = 1 << 15,
	NET_TCP = 1 << 0 | 1 << 1,	 /* bind, connect */
	SCOPE_ABSTRACT_SOCKETS = 1 << 0, /* not signals: workers may have to be killed */
};

struct ruleset_attr {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

struct path_beneath_attr {
	uint64_t access;
	int32_t parent_fd;
} __attribute__((packed));

static uint64_t known_accesses(int abi)
{
	uint64_t all = FS_UP_TO_MAKE_SYM | FS_REFER;

	if (abi >= ABI_WITH_TRUNCATE)
		all |= FS_TRUNCATE;
	if (abi >= ABI_WITH_IOCTL_DEV)
		all |= FS_IOCTL_DEV;
	return all;
}

static uint64_t rights(enum confine_access access)
{
	switch (access) {
	case CONFINE_LIST:
		return FS_READ_DIR;
	case CONFINE_READ:
		return FS_READ_DIR | FS_READ_FILE;
	case CONFINE_CHANGE:
		return ~(uint64_t)(FS_EXECUTE | FS_IOCTL_DEV);
	case CONFINE_FILE:
		return FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE;
	case CONFINE_UNLINK:
		return FS_REMOVE_FILE;
	case CONFINE_RMDIR:
		return FS_REMOVE_DIR;
	}
	return 0;
}

static int add_place(int ruleset, const struct confine_place *place, uint64_t known)
{
	const struct path_beneath_attr rule = { .access = rights(place->access) & known,
						.parent_fd = place->fd };

	if (place->fd < 0)
		return 0;
	return syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) ? -errno : 0;
}

/* The version, 0 if the kernel has none that is of use, or -errno. */
static int enter_landlock(const struct confine_wishes *w)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
	struct ruleset_attr attr = { 0 };
	int ruleset;
	int r = 0;

	if (abi < ABI_WITH_REFER)
		return 0;
	attr.fs = known_accesses((int)abi);
	if (abi >= ABI_WITH_NET)
		attr.net = NET_TCP;
	if (abi >= ABI_WITH_SCOPES)
		attr.scoped = SCOPE_ABSTRACT_SOCKETS;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	for (uint32_t i = 0; i < w->n_places && !r; i++)
		r = add_place(ruleset, &w->places[i], attr.fs);
	if (!r && syscall(SYS_landlock_restrict_self, ruleset, 0))
		r = -errno;
	fdio_close(ruleset);
	return r ? r : (int)abi;
}

/* ---- seccomp --------------------------------------------------------------- */

/* Whatever their arguments are. */
static const int allowed[] = {
	/* /dev/fuse and content */
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(pread64),
	SCMP_SYS(preadv),
	SCMP_SYS(preadv2),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(pwritev2),
	SCMP_SYS(lseek),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(copy_file_range),
	SCMP_SYS(fadvise64),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(sync_file_range),
	SCMP_SYS(syncfs),
	/* descriptors */
	SCMP_SYS(openat),
	SCMP_SYS(openat2),
	SCMP_SYS(close),
	SCMP_SYS(close_range),
	SCMP_SYS(dup),
	SCMP_SYS(dup3),
	SCMP_SYS(fcntl),
	SCMP_SYS(flock),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	/* entries and attributes */
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(stat), /* and lstat, of some C libraries */
	SCMP_SYS(lstat),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(getdents64),
	SCMP_SYS(readlinkat),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(mkdirat),
	SCMP_SYS(mknodat),
	SCMP_SYS(symlinkat),
	SCMP_SYS(linkat),
	SCMP_SYS(unlinkat),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(chmod), /* by a link in /proc/self/fd: fchmodat(3) without following links */
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(fchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(utimensat),
	SCMP_SYS(getxattr),
	SCMP_SYS(lgetxattr),
	SCMP_SYS(fgetxattr),
	SCMP_SYS(setxattr),
	SCMP_SYS(lsetxattr),
	SCMP_SYS(fsetxattr),
	SCMP_SYS(listxattr),
	SCMP_SYS(llistxattr),
	SCMP_SYS(flistxattr),
	SCMP_SYS(removexattr),
	SCMP_SYS(lremovexattr),
	SCMP_SYS(fremovexattr),
	SCMP_SYS(umask),
	/* memory */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(mlock2),
	SCMP_SYS(munlock),
	SCMP_SYS(getrandom),
	/* threads, signals, time */
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(membarrier),
	SCMP_SYS(getcpu),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(setsid), /* once, when all is there */
	SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getrusage),
	SCMP_SYS(uname),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	/* sockets that are there: askers, the zygote, the unmounter, the log */
	SCMP_SYS(accept4),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(connect), /* syslog(3), when its daemon was restarted */
	/* children that are there */
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	SCMP_SYS(pidfd_send_signal),
};

static int allow_all(scmp_filter_ctx filter)
{
	int r = 0;

	for (size_t i = 0; !r && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	return r;
}

static int allow_if(scmp_filter_ctx filter, int number, struct scmp_arg_cmp condition)
{
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &condition);
}

/* Those whose arguments matter. */
static int allow_some(scmp_filter_ctx filter)
{
	int r = allow_if(filter, SCMP_SYS(mmap), SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	if (!r)
		r = allow_if(filter, SCMP_SYS(mprotect),
			     SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* Threads, no processes; clone3, whose flags cannot be seen, falls back to it. */
	if (!r)
		r = allow_if(filter, SCMP_SYS(clone),
			     SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	if (!r)
		r = allow_if(filter, SCMP_SYS(tgkill),
			     SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)getpid(), 0));
	if (!r)
		r = allow_if(filter, SCMP_SYS(prctl), SCMP_A0_32(SCMP_CMP_EQ, PR_SET_NAME, 0));
	/* Asking for a limit, not setting it. */
	if (!r)
		r = allow_if(filter, SCMP_SYS(prlimit64), SCMP_A2_64(SCMP_CMP_EQ, 0, 0));
	if (!r)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
				     SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX, 0),
				     SCMP_A1_32(SCMP_CMP_MASKED_EQ, 0xf, SOCK_DGRAM));
	return r;
}

static int enter_seccomp(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int r;

	if (!filter)
		return -ENOMEM;
	/* A tree in place of a list; older versions of the library cannot. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	/* No foreign code runs in here: older kernels need not slow down all of it. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	r = allow_all(filter);
	if (!r)
		r = allow_some(filter);
	if (!r)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

/* ---- capabilities ---------------------------------------------------------- */

static const char *const names[] = {
	[CAP_CHOWN] = "chown",
	[CAP_DAC_OVERRIDE] = "dac_override",
	[CAP_DAC_READ_SEARCH] = "dac_read_search",
	[CAP_FOWNER] = "fowner",
	[CAP_FSETID] = "fsetid",
	[CAP_IPC_LOCK] = "ipc_lock",
	[CAP_SYS_ADMIN] = "sys_admin",
	[CAP_MKNOD] = "mknod",
	[CAP_SETFCAP] = "setfcap",
};

static uint64_t bit(unsigned int number)
{
	return (uint64_t)1 << number;
}

/* What it takes to make files of all kinds for anybody and to lock memory. */
static uint64_t needed(const struct confine_wishes *w)
{
	uint64_t keep = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_DAC_READ_SEARCH) |
			bit(CAP_FOWNER) | bit(CAP_FSETID) | bit(CAP_MKNOD) | bit(CAP_SETFCAP) |
			bit(CAP_IPC_LOCK);

	return w->trusted_xattrs ? keep | bit(CAP_SYS_ADMIN) : keep;
}

struct capabilities {
	struct __user_cap_header_struct head;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static bool get_capabilities(struct capabilities *c)
{
	*c = (struct capabilities){ .head = { .version = _LINUX_CAPABILITY_VERSION_3 } };
	return syscall(SYS_capget, &c->head, c->data) == 0;
}

static uint64_t permitted(const struct capabilities *c)
{
	return (uint64_t)c->data[1].permitted << 32 | c->data[0].permitted;
}

void confine_capabilities(uint64_t keep)
{
	struct capabilities c;

	if (!get_capabilities(&c))
		return;
	/* Where it may: nobody gets them back from there either. */
	for (unsigned int i = 0; i < 64; i++)
		if (!(keep & bit(i)))
			(void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
	for (unsigned int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		uint32_t mask = (uint32_t)(keep >> (32 * i));

		c.data[i].effective &= mask;
		c.data[i].permitted &= mask;
		c.data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &c.head, c.data))
		log_warn("capabilities are kept: %s", strerror(errno));
}

const char *confine_capability_name(unsigned int number)
{
	return number < sizeof(names) / sizeof(names[0]) ? names[number] : NULL;
}

/* ---- all of it ------------------------------------------------------------- */

static void complain(const char *what, int r)
{
	if (r < 0)
		log_warn("serving without %s: %s", what, strerror(-r));
}

void confine_enter(const struct confine_wishes *w, struct confine_report *report)
{
	struct capabilities left;
	int r;

	*report = (struct confine_report){ 0 };
	report->no_new_privs = !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!SANITIZED) {
		r = enter_landlock(w);
		complain("Landlock", r);
		report->landlock = r > 0 ? r : 0;
	}
	confine_capabilities(needed(w));
	if (get_capabilities(&left))
		report->capabilities = permitted(&left);
	if (!SANITIZED) {
		r = enter_seccomp();
		complain("a seccomp filter", r == -EINVAL ? 0 : r); /* the kernel has none */
		report->seccomp = !r;
	}
}
