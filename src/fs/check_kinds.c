/* SPDX-License-Identifier: MIT */
/* What each kind of finding is called. */
#include "fs/check.h"

struct kind {
	enum check_level level;
	const char *name;
	const char *text;
};

static const struct kind kinds[] = {
	[CHECK_TEMPORARY] = { CHECK_LEFTOVER, "temporary", "was left by an interrupted operation" },
	[CHECK_NAME_LEFT] = { CHECK_LEFTOVER, "name-left",
			      "a long name was left by an entry that is gone" },
	[CHECK_TARGET_LEFT] = { CHECK_LEFTOVER, "target-left",
				"a target was left by a symlink that is gone" },
	[CHECK_MARKER_LEFT] = { CHECK_LEFTOVER, "marker-left",
				"a marker was left by a special file that is gone" },
	[CHECK_MARKER_TWICE] = { CHECK_LEFTOVER, "marker-twice",
				 "its marker allows another special file, too" },
	[CHECK_RECORD_MISSING] = { CHECK_LEFTOVER, "record-missing",
				   "one copy of its directory record is missing or behind" },
	[CHECK_UNFINISHED_DIRECTORY] = { CHECK_LEFTOVER, "unfinished-directory",
					 "is empty and was being made or removed" },
	[CHECK_UNSETTLED] = { CHECK_LEFTOVER, "unsettled", "was being written to" },
	[CHECK_UNFINISHED_CHANGE] = { CHECK_LEFTOVER, "unfinished-change",
				      "a change of its size was interrupted" },
	[CHECK_TWO_PLACES] = { CHECK_LEFTOVER, "two-places",
			       "may still be where it was before a rename" },
	[CHECK_CONFIG_MISSING] = { CHECK_LEFTOVER, "config-missing",
				   "this copy of the configuration is missing" },
	[CHECK_CONFIG_OTHER] = { CHECK_LEFTOVER, "config-other",
				 "this copy of the configuration is of another time" },
	[CHECK_JOURNAL] = { CHECK_LEFTOVER, "journal",
			    "holds changes that are not in place yet (mount it, or use --repair)" },
	[CHECK_CONFIG_DAMAGED] = { CHECK_DAMAGE, "config-damaged",
				   "this copy of the configuration does not authenticate" },
	[CHECK_RECORD_DAMAGED] = { CHECK_DAMAGE, "record-damaged",
				   "one copy of its directory record does not authenticate" },
	[CHECK_HEADER_SLOT] = { CHECK_DAMAGE, "header-slot",
				"one of its two header slots does not authenticate" },
	[CHECK_EMPTY_FILE] = { CHECK_DAMAGE, "empty-file", "has no header and no content" },
	[CHECK_NAME] = { CHECK_DAMAGE, "name", "its name does not authenticate" },
	[CHECK_RECORD_CONFLICT] = { CHECK_DAMAGE, "record-conflict",
				    "the copies of its record are of different directories: the "
				    "names in it are lost" },
	[CHECK_RECORD_LOST] = { CHECK_DAMAGE, "record-lost",
				"no copy of its record authenticates: the names in it are lost" },
	[CHECK_MISPLACED] = { CHECK_DAMAGE, "misplaced", "belongs somewhere else" },
	[CHECK_DUPLICATE] = { CHECK_DAMAGE, "duplicate", "is a copy of something else here" },
	[CHECK_HEADER] = { CHECK_DAMAGE, "header",
			   "its header does not authenticate: the content is lost" },
	[CHECK_SHAPE] = { CHECK_DAMAGE, "shape", "its header does not fit its size" },
	[CHECK_CUT] = { CHECK_DAMAGE, "cut", "was cut off" },
	[CHECK_EXTENDED] = { CHECK_DAMAGE, "extended", "was made longer by somebody else" },
	[CHECK_FORGED] = { CHECK_DAMAGE, "forged", "does not authenticate" },
	[CHECK_TORN] = { CHECK_DAMAGE, "torn", "was being written when its writer died" },
	[CHECK_UNREADABLE] = { CHECK_DAMAGE, "unreadable", "cannot be read from the disk" },
	[CHECK_SYMLINK] = { CHECK_DAMAGE, "symlink", "its target does not authenticate" },
	[CHECK_SPECIAL] = { CHECK_DAMAGE, "special",
			    "is a special file that was not made through a mount" },
	[CHECK_XATTR_NAME] = { CHECK_DAMAGE, "xattr-name",
			       "the name of an attribute does not authenticate" },
	[CHECK_XATTR_VALUE] = { CHECK_DAMAGE, "xattr-value",
				"the value of an attribute does not authenticate" },
	[CHECK_NO_ACCESS] = { CHECK_TROUBLE, "no-access", "cannot be checked" },
	[CHECK_NOT_COPIED] = { CHECK_TROUBLE, "not-copied", "could not be copied" },
};

const char *check_kind_name(enum check_kind kind)
{
	return kinds[kind].name;
}

const char *check_kind_text(enum check_kind kind)
{
	return kinds[kind].text;
}

enum check_level check_kind_level(enum check_kind kind)
{
	return kinds[kind].level;
}
