/* SPDX-License-Identifier: MIT */
/*
 * log - one line per event, to standard error until log_to_syslog, then to
 * syslog.  Lines start with the program's name.  Never a secret and never a
 * plaintext file name of a vault: callers pass vault paths (stored names) only.
 * Control characters are shown as '?'.  Safe from any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

/* Name that lines start with; borrowed for ever.  Default "cryptfs". */
void log_ident(const char *name);

/* From here on to syslog (facility daemon), not stderr. */
void log_to_syslog(void);

/* Also show log_debug lines. */
void log_verbose(bool on);

/*
 * Call these two around each line to standard error, for who draws there, too;
 * NULL: no more.  While no other thread logs.
 */
void log_around(void (*before)(void *arg), void (*after)(void *arg), void *arg);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif /* BASE_LOG_H */
