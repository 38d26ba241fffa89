/* SPDX-License-Identifier: MIT */
/* What children give up: see sandbox.h for the contract. */
#include "engine/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/sanitized.h"

/* Waiting for work, time for it, the end; nothing that opens, sends or starts. */
static const int allowed[] = {
	SCMP_SYS(futex),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(sched_yield),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid),
	SCMP_SYS(brk), /* malloc() and free() of some other libcrypto */
	SCMP_SYS(madvise),
	SCMP_SYS(munmap),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
#if SANITIZED /* the sanitizers' own needs, for their reports above all */
	SCMP_SYS(mmap),
	SCMP_SYS(mprotect),
	SCMP_SYS(gettid),
	SCMP_SYS(write),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(readlink),
#endif
};

void sandbox_die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || getppid() != parent)
		_exit(1);
}

void sandbox_close_all_but(int keep)
{
	/* Sanitizers report to standard error; nobody else may keep it. */
	unsigned int first = SANITIZED ? STDERR_FILENO + 1 : 0;

	if (keep < (int)first) {
		(void)close_range(first, ~0U, 0);
		return;
	}
	if ((unsigned int)keep > first)
		(void)close_range(first, (unsigned int)keep - 1, 0);
	(void)close_range((unsigned int)keep + 1, ~0U, 0);
}

int sandbox_enter(void)
{
	scmp_filter_ctx filter;
	int r = 0;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	for (size_t i = 0; !r && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!r)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}
