package snapshot

import (
	"fmt"
	"os"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Read reads the host that the process runs on, and the namespaces at the paths that the caller knows and at those it
// finds. A path that leads to no namespace is passed over: containers come and go.
func Read(paths []string) (Host, error) {
	k, err := kernel.Open("")
	if err != nil {
		return Host{}, err
	}
	defer k.Close()
	own, err := readNamespace(k.Host)
	if err != nil {
		return Host{}, err
	}
	own.ID = None
	h := Host{Namespace: own}
	if h.Hostname, err = os.Hostname(); err != nil {
		return Host{}, err
	}
	s := search{host: k.Host, seen: map[kernel.NamespaceID]int{}, referred: map[int]bool{}, read: map[string]reading{}}
	for _, l := range own.Links {
		s.referred[l.LowerIn] = true
	}
	delete(s.referred, None)
	s.skipHost()
	s.readAhead(paths)
	for _, path := range paths {
		s.visit(path, true)
	}
	for _, path := range boundNamespaces() {
		s.visit(path, false)
	}
	s.visitProcesses()
	h.Others, h.at = s.found, map[string]int{}
	for i, ns := range h.Others {
		for _, path := range ns.Paths {
			if _, twice := h.at[path]; !twice {
				h.at[path] = i
			}
		}
	}
	return h, nil
}

// readNamespace reads everything of one namespace but its paths and its ID.
func readNamespace(n *kernel.Namespace) (Namespace, error) {
	links, err := readLinks(n)
	if err != nil {
		return Namespace{}, err
	}
	ns := Namespace{Links: links}
	ns.index()
	if ns.Routes, err = readRoutes(n); err != nil {
		return Namespace{}, err
	}
	for _, l := range links {
		if l.Kind != "vxlan" {
			continue
		}
		if err := ns.readVXLAN(n, l); err != nil {
			return Namespace{}, fmt.Errorf("%s: %w", l.Name, err)
		}
	}
	return ns, nil
}
