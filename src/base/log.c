/* SPDX-License-Identifier: MIT */
/* One line per event: see log.h for the contract. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>

static const char *ident = "cryptfs";
static atomic_bool use_syslog;
static atomic_bool verbose;

void log_ident(const char *name)
{
	ident = name;
}

void log_to_syslog(void)
{
	openlog(ident, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	atomic_store(&use_syslog, true);
}

void log_verbose(bool on)
{
	atomic_store(&verbose, on);
}

static struct {
	void (*before)(void *arg);
	void (*after)(void *arg);
	void *arg;
} around;

void log_around(void (*before)(void *arg), void (*after)(void *arg), void *arg)
{
	around.before = before;
	around.after = after;
	around.arg = arg;
}

/* A name of a file may hold anything, also what a terminal obeys. */
static void tame(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

__attribute__((format(printf, 2, 0))) static void line(int priority, const char *format,
						       va_list args)
{
	char text[1024];
	char whole[1200];

	(void)vsnprintf(text, sizeof(text), format, args); /* cut is fine */
	tame(text);
	if (atomic_load(&use_syslog)) {
		syslog(priority, "%s", text);
		return;
	}
	/* One write, so that lines of several processes do not mix. */
	(void)snprintf(whole, sizeof(whole), "%s: %s\n", ident, text);
	if (around.before)
		around.before(around.arg);
	(void)fputs(whole, stderr);
	if (around.after)
		around.after(around.arg);
}

#define LEVEL(name, priority)                                                                      \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list args;                                                                      \
		va_start(args, format);                                                            \
		line(priority, format, args);                                                      \
		va_end(args);                                                                      \
	}

LEVEL(log_error, LOG_ERR)
LEVEL(log_warn, LOG_WARNING)
LEVEL(log_info, LOG_INFO)

void log_debug(const char *format, ...)
{
	va_list args;

	if (!atomic_load(&verbose))
		return;
	va_start(args, format);
	line(LOG_DEBUG, format, args);
	va_end(args);
}
