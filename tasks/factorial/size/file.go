package size

import (
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// FromFiles returns the memory that Linux's files below root say is available: what
// the system has left (/proc/meminfo), and what is left in the control groups of
// this process, of either version, and all above them. It is 1 GiB, "assumed", if
// none of them can be read.
func FromFiles(root fs.FS) Memory {
	m := Memory{math.MaxUint64, ""}
	if kib, ok := field(root, "proc/meminfo", "MemAvailable:"); ok {
		m = Memory{kib << 10, "MemAvailable"}
	}
	b, _ := fs.ReadFile(root, "proc/self/cgroup") // no file, no control groups
	for line := range strings.Lines(string(b)) {
		// hierarchy:controllers:group
		words := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(words) < 3:
		case words[1] == "":
			m = m.atMost(version2().left(root, words[2]))
		case slices.Contains(strings.Split(words[1], ","), "memory"):
			m = m.atMost(version1().left(root, words[2]))
		}
	}
	if m.Source == "" {
		return Memory{fallback, "assumed"}
	}
	return m
}

// hierarchy says where a version of control groups keeps its memory limits.
type hierarchy struct {
	mount, limit, used, cache string
}

func version2() hierarchy {
	return hierarchy{"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"}
}

func version1() hierarchy {
	return hierarchy{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
}

// left returns the least that is left in the group and those above it. In a
// container the group's name may be one from outside: its own limit then stands at
// the mount.
func (h hierarchy) left(root fs.FS, group string) Memory {
	m := Memory{math.MaxUint64, ""}
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		dir := path.Join(h.mount, group)
		limit, limited := number(root, path.Join(dir, h.limit))
		used, known := number(root, path.Join(dir, h.used))
		if limited && known {
			// What is cached of files goes first when memory runs short.
			cache, _ := field(root, path.Join(dir, "memory.stat"), h.cache)
			used -= min(cache, used)
			m = m.atMost(Memory{limit - min(used, limit), h.limit + " of " + group})
		}
		if group == "/" {
			return m
		}
	}
}

func number(root fs.FS, name string) (uint64, bool) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// field returns the number that follows key in a file of lines.
func field(root fs.FS, name, key string) (uint64, bool) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != key {
			continue
		}
		n, err := strconv.ParseUint(words[1], 10, 64)
		return n, err == nil
	}
	return 0, false
}
