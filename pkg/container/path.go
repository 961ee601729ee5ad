package container

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// netnsDir is where ip-netns(8) binds namespaces to files.
const netnsDir = "/run/netns"

// Bound is the names of the namespaces that ip-netns(8) has made.
func Bound() []string {
	entries, _ := os.ReadDir(netnsDir) // where there is none, there is no name
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names
}

// process is the container that is one process.
func (f Finder) process(number string) (Container, error) {
	pid, err := strconv.ParseUint(number, 10, 31)
	if err != nil || pid == 0 {
		return Container{}, fmt.Errorf("pid:%s: give the number of a process, as in pid:4711", number)
	}
	number = strconv.FormatUint(pid, 10)
	c := Container{ID: processID(number), Name: "pid:" + number, Netns: "/proc/" + number + "/ns/net"}
	err = reachable(c.Netns)
	if errors.Is(err, kernel.ErrNoNamespace) {
		return Container{}, fmt.Errorf("pid:%d: process %w", pid, ErrNotFound)
	}
	return f.claim(c), err
}

func processID(number string) string { return "pid-" + number }

// bound is the container that is a namespace at a path; a name alone is one of ip-netns(8).
func (f Finder) bound(path string) (Container, error) {
	if path == "" {
		return Container{}, errors.New("netns: give the path of a network namespace, as in netns:/run/netns/web")
	}
	path = absolute(path)
	err := reachable(path)
	if errors.Is(err, kernel.ErrNoNamespace) {
		return Container{}, fmt.Errorf("netns:%s %w", path, ErrNotFound)
	}
	return f.claim(Container{ID: pathID(path), Name: filepath.Base(path), Netns: path}), err
}

// RecordedID is the ID under which CNI knows what a reference names, also when that has gone: of a process or a path the
// one that Find gives when CNI knows none, and else the reference.
func RecordedID(ref string) string {
	if number, ok := strings.CutPrefix(ref, "pid:"); ok {
		return processID(number)
	}
	if path, ok := strings.CutPrefix(ref, "netns:"); ok {
		return pathID(absolute(path))
	}
	return ref
}

// PathOf is the namespace that a reference names by a process or a path. ok is false for the name or the ID of a container.
func PathOf(ref string) (path string, ok bool) {
	if number, is := strings.CutPrefix(ref, "pid:"); is {
		return "/proc/" + number + "/ns/net", true
	}
	if path, is := strings.CutPrefix(ref, "netns:"); is && path != "" {
		return absolute(path), true
	}
	return "", false
}

// reachable opens a namespace and closes it again.
func reachable(netns string) error {
	k, err := kernel.Open(netns)
	if err == nil {
		k.Close()
	}
	return err
}

// absolute makes a path of a name of ip-netns(8).
func absolute(path string) string {
	if !strings.Contains(path, "/") {
		return filepath.Join(netnsDir, path)
	}
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// pathID is the name that ip-netns(8) gave, or a hash of any other path.
func pathID(path string) string {
	dir, name := filepath.Split(strings.TrimPrefix(path, "/var"))
	if dir == netnsDir+"/" && isName(name) {
		return name
	}
	sum := sha256.Sum256([]byte(path))
	return "netns-" + hex.EncodeToString(sum[:8])
}

// claim gives a container the identity under which CNI knows its namespace already, and the path, unless that is a process's: it may end
// before the one that was named.
func (f Finder) claim(c Container) Container {
	for _, a := range f.Attached {
		if a.In(c.Netns) && a.Alive() {
			c.ID = a.ID
			if path := a.Path(); !strings.HasPrefix(path, "/proc/") {
				c.Netns = path
			}
			if a.Name != "" {
				c.Name = a.Name
			}
			break
		}
	}
	return c
}
