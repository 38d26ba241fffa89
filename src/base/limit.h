/* SPDX-License-Identifier: MIT */
/* limit - what a process may have of a resource. */
#ifndef BASE_LIMIT_H
#define BASE_LIMIT_H

/* As much as it may ask for (setrlimit(2)); if not, what it has serves, too. */
void limit_raise(int resource);

#endif /* BASE_LIMIT_H */
