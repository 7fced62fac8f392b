package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// freeMemory is how much memory this process may still take: what the system
// has available, or what a control group leaves; 0 where neither tells.
func freeMemory() int64 {
	free := procBytes("/proc/meminfo", "MemAvailable")
	if group := groupMemory("/sys/fs/cgroup"); group > 0 && (free == 0 || group < free) {
		free = group
	}
	return free
}

// groupMemory is what a control group (version 2) leaves below its limit, or 0.
func groupMemory(dir string) int64 {
	limit, ok := readNumber(filepath.Join(dir, "memory.max")) // "max": no limit
	used, known := readNumber(filepath.Join(dir, "memory.current"))
	if !ok || !known {
		return 0
	}
	return max(limit-used, 1)
}

func readNumber(path string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// existing returns dir or the nearest folder above it that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "."
		}
		dir = above
	}
}
