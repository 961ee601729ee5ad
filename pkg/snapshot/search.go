package snapshot

import (
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// search collects namespaces, each once.
type search struct {
	host   *kernel.Namespace
	asking sync.Mutex                 // host
	seen   map[kernel.NamespaceID]int // position in found, or passed
	found  []Namespace
	// referred are the IDs that links of the host refer to.
	referred map[int]bool
	// read are namespaces that were read ahead, by the path.
	read map[string]reading
}

// reading is a namespace that was read, or not.
type reading struct {
	ns Namespace
	ok bool
}

// readAhead reads the namespaces at paths by as many threads as there are processors, which wait for the kernel for the most part.
func (s *search) readAhead(paths []string) {
	var todo []string
	queued := map[kernel.NamespaceID]bool{}
	for _, path := range paths {
		id, err := kernel.NamespaceAt(path)
		if _, seen := s.seen[id]; err != nil || seen || queued[id] {
			continue
		}
		queued[id] = true
		todo = append(todo, path)
	}
	found := make([]reading, len(todo))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.NumCPU(), len(todo)) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(todo) {
					return
				}
				found[i] = s.open(todo[i], true)
			}
		})
	}
	workers.Wait()
	for i, path := range todo {
		s.read[path] = found[i]
	}
}

const passed = -1

// skipHost passes over the host's own namespace, which processes and paths may lead to as well.
func (s *search) skipHost() {
	if id, err := kernel.NamespaceAt("/proc/thread-self/ns/net"); err == nil {
		s.seen[id] = passed
	}
}

// visit takes in the namespace at a path if the caller knew it or if it is connected with the host.
func (s *search) visit(path string, known bool) {
	id, err := kernel.NamespaceAt(path)
	if err != nil {
		return
	}
	at, seen := s.seen[id]
	if !seen {
		at = s.take(path, known)
		s.seen[id] = at
	}
	if at != passed && !slices.Contains(s.found[at].Paths, path) {
		s.found[at].Paths = append(s.found[at].Paths, path)
	}
}

// take gives the position of the namespace, or passed.
func (s *search) take(path string, known bool) int {
	r, ahead := s.read[path]
	if !ahead || !known {
		r = s.open(path, known)
	}
	if !r.ok {
		return passed
	}
	s.found = append(s.found, r.ns)
	return len(s.found) - 1
}

// open reads the namespace at a path, unless it is of no concern.
func (s *search) open(path string, known bool) reading {
	k, err := kernel.Open(path)
	if err != nil {
		return reading{} // gone, or no namespace
	}
	defer k.Close()
	s.asking.Lock()
	id, err := s.host.NumberOf(k.Container.Fd())
	s.asking.Unlock()
	if err != nil {
		id = None
	}
	if !known && !s.referred[id] && !hasForeignLower(k.Container) {
		return reading{}
	}
	ns, err := readNamespace(k.Container)
	if err != nil {
		return reading{}
	}
	ns.ID = id
	return reading{ns, true}
}

// hasForeignLower says whether a namespace has a link such as a macvlan, which stands on a link elsewhere.
func hasForeignLower(n *kernel.Namespace) bool {
	links, err := kernel.Dump(n.LinkList)
	if err != nil {
		return false
	}
	for _, link := range links {
		if l := describe(link); l.LowerIn != None && l.Kind != "veth" {
			return true
		}
	}
	return false
}

// boundNamespaces lists where ip netns, CNI runtimes and Docker bind namespaces.
func boundNamespaces() []string {
	var paths []string
	for _, dir := range []string{"/run/netns", "/run/docker/netns"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // nothing of that kind here
		}
		for _, e := range entries {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// visitProcesses looks for namespaces that no path is bound to, if links of the host refer to any.
func (s *search) visitProcesses() {
	missing := s.missing()
	if len(missing) == 0 {
		return
	}
	processes, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return // the pattern is sound
	}
	for _, process := range processes {
		if len(missing) == 0 {
			return
		}
		path := process + "/ns/net"
		id, err := kernel.NamespaceAt(path)
		if _, seen := s.seen[id]; err != nil || seen {
			continue
		}
		s.visit(path, false)
		if at := s.seen[id]; at != passed {
			s.found[at].Process = processName(process)
			delete(missing, s.found[at].ID)
		}
	}
}

// missing are the IDs that links of the host refer to and no namespace found has.
func (s *search) missing() map[int]bool {
	ids := maps.Clone(s.referred)
	for _, ns := range s.found {
		delete(ids, ns.ID)
	}
	return ids
}

// processName is the name of a process and its number.
func processName(dir string) string {
	name, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return "process " + filepath.Base(dir)
	}
	return strings.TrimSpace(string(name)) + " " + filepath.Base(dir)
}
