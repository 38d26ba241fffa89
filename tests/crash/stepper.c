/* SPDX-License-Identifier: MIT */
/*
 * stepper - run a program and kill it at the N-th system call that changes a
 * filesystem.
 *
 *    stepper CONTROL PROGRAM [ARGUMENT...]
 *
 * CONTROL is a file of 32 bytes that others map too: struct control.  While
 * `at` is 0 calls are counted only; else the call that makes `count` equal to
 * it is the program's last: it is not done any more, or it is done and its
 * caller never sees that (`after`).
 *
 * Every thread and child of the program is traced, so no call is missed; a
 * seccomp filter picks the calls, so all others run at full speed.  A write(2)
 * counts where it goes to a regular file.  Exit status: the program's, or 137
 * when it died of SIGKILL.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h> /* after sys/ptrace.h: struct ptrace_syscall_info */

struct control {
	volatile uint32_t at;	 /* from 1 on, or 0 */
	volatile uint32_t after; /* 1: the call is done */
	volatile uint32_t count; /* calls since somebody set it to 0 */
	volatile uint32_t struck;
	volatile uint32_t number; /* of the call that was the last */
	volatile uint32_t pid;	  /* the program's */
	uint32_t unused[2];
};

/* What changes a filesystem. */
static const int calls[] = {
#ifdef __NR_open
	__NR_creat,	   __NR_truncate,      __NR_rename,	  __NR_mkdir,
	__NR_rmdir,	   __NR_link,	       __NR_unlink,	  __NR_symlink,
	__NR_mknod,	   __NR_chmod,	       __NR_chown,	  __NR_lchown,
	__NR_utime,	   __NR_utimes,	       __NR_futimesat,
#endif
#ifdef __NR_renameat
	__NR_renameat,
#endif
#ifdef __NR_fchmodat2
	__NR_fchmodat2,
#endif
#ifdef __NR_setxattrat
	__NR_setxattrat,   __NR_removexattrat,
#endif
	__NR_write,	   __NR_writev,	       __NR_pwrite64,	  __NR_pwritev,
	__NR_pwritev2,	   __NR_ftruncate,     __NR_fallocate,	  __NR_copy_file_range,
	__NR_sendfile,	   __NR_splice,	       __NR_linkat,	  __NR_unlinkat,
	__NR_renameat2,	   __NR_mkdirat,       __NR_symlinkat,	  __NR_mknodat,
	__NR_setxattr,	   __NR_lsetxattr,     __NR_fsetxattr,	  __NR_removexattr,
	__NR_lremovexattr, __NR_fchmod,	       __NR_fremovexattr, __NR_fchmodat,
	__NR_fchown,	   __NR_fchownat,      __NR_utimensat,
};
enum { N_CALLS = sizeof(calls) / sizeof(calls[0]) };

static void die(const char *what)
{
	perror(what);
	exit(125);
}

/* ---- the program ----------------------------------------------------------- */

#define LOAD(what) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, what))

/* Stop at these calls, and at openat where it makes or empties a file. */
static void install_filter(void)
{
	const uint32_t makes = (O_CREAT | O_TRUNC | O_TMPFILE) & ~O_DIRECTORY;
	struct sock_filter code[2 * N_CALLS + 8];
	struct sock_fprog program = { .filter = code };
	unsigned short n = 0;

	code[n++] = (struct sock_filter)LOAD(nr);
	for (size_t i = 0; i < N_CALLS; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							 (uint32_t)calls[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
	}
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_openat, 0, 3);
	code[n++] = (struct sock_filter)LOAD(
		args[2]); /* its low half, on a little-endian machine */
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, makes, 0, 1);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = n;
	/* Root may without; others must promise this. */
	if (geteuid() && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("prctl");
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

static void be_the_program(int go, char **argv)
{
	char byte;

	if (read(go, &byte, 1) != 1)
		_exit(125);
	install_filter();
	execvp(argv[0], argv);
	die(argv[0]);
}

static pid_t start(char **argv)
{
	const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE |
			     PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
			     PTRACE_O_TRACESYSGOOD;
	int go[2];
	pid_t pid;

	if (pipe2(go, O_CLOEXEC))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		close(go[1]);
		be_the_program(go[0], argv);
	}
	close(go[0]);
	if (ptrace(PTRACE_SEIZE, pid, 0, options))
		die("ptrace");
	if (write(go[1], "", 1) != 1)
		die("pipe");
	close(go[1]);
	return pid;
}

/* ---- stops ----------------------------------------------------------------- */

static bool is_file(pid_t tid, uint64_t fd)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%llu", tid, (unsigned long long)fd);
	return fd > STDERR_FILENO && !stat(path, &st) && S_ISREG(st.st_mode);
}

/* A call that counts, or another one that the filter cannot tell from these. */
static bool counts(pid_t tid, struct ptrace_syscall_info *info)
{
	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(*info), info) <= 0 ||
	    info->op != PTRACE_SYSCALL_INFO_SECCOMP)
		return false;
	if (info->seccomp.nr == __NR_write || info->seccomp.nr == __NR_writev)
		return is_file(tid, info->seccomp.args[0]);
	if (info->seccomp.nr == __NR_splice)
		return is_file(tid, info->seccomp.args[2]);
	return true;
}

static void strike(struct control *c, pid_t program)
{
	c->at = 0;
	c->struck = 1;
	(void)kill(program, SIGKILL);
}

/* A thread is about to make a call: how it is to go on. */
static int at_call(struct control *c, pid_t program, pid_t tid)
{
	struct ptrace_syscall_info info;

	if (!counts(tid, &info) || ++c->count != c->at)
		return PTRACE_CONT;
	c->number = (uint32_t)info.seccomp.nr;
	if (c->after)
		return PTRACE_SYSCALL; /* stops once more when it is done */
	strike(c, program);
	return PTRACE_CONT;
}

static void at_stop(struct control *c, pid_t program, pid_t tid, int status)
{
	int event = status >> 16;
	int signal = WSTOPSIG(status);
	int how = PTRACE_CONT;

	if (event == PTRACE_EVENT_SECCOMP)
		how = at_call(c, program, tid);
	else if (signal == (SIGTRAP | 0x80))
		strike(c, program);
	else if (event == PTRACE_EVENT_STOP && signal != SIGTRAP)
		how = PTRACE_LISTEN; /* stopped by a signal, until SIGCONT */
	if (event || signal == (SIGTRAP | 0x80))
		signal = 0;
	/* Fails when it was killed meanwhile. */
	(void)ptrace(how, tid, 0, signal);
}

int main(int argc, char **argv)
{
	struct control *c;
	int result = 125;
	int status;
	int fd;
	pid_t program;
	pid_t tid;

	if (argc < 3)
		return 125;
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(argv[1]);
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c == MAP_FAILED)
		die("mmap");
	program = start(argv + 2);
	c->pid = (uint32_t)program;
	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (tid <= 0)
			continue;
		if (WIFSTOPPED(status))
			at_stop(c, program, tid, status);
		else if (tid == program)
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	return result;
}
