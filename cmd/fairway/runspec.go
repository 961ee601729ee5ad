package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/sandbox"
)

// sandbox translates the flags.
func (e *env) sandbox(o runFlags) (sandbox.Spec, error) {
	spec := sandbox.Spec{ID: orDefault(detachedVar, newID()), Name: o.name, Plugins: filepath.SplitList(e.cniPath), Netconf: e.netconfDir}
	if err := e.nameContainer(&spec); err != nil {
		return spec, err
	}
	if err := o.process(&spec); err != nil {
		return spec, usageError{err}
	}
	if shared, is := sharedContainer(o.networks); is {
		return spec, e.share(&spec, o, shared)
	}
	networks, err := e.settled()
	if err != nil {
		return spec, err
	}
	o.endpoint.aliases = append(o.endpoint.aliases, o.networkAliases...)
	if spec.Endpoints, spec.HostNetwork, err = endpoints(networks, o.networks, o.endpoint); err != nil {
		return spec, err
	}
	if err := e.publishing(&spec, o.ports); err != nil {
		return spec, err
	}
	if spec.HostNetwork {
		if len(spec.Sysctls) > 0 {
			return spec, usageError{errors.New("--network host: parameters of the host's network are not set by a container")}
		}
		return spec, o.onHost(&spec)
	}
	etc, err := o.etc(spec)
	if err != nil {
		return spec, usageError{err}
	}
	for i := range spec.Endpoints {
		spec.Endpoints[i].Request.Servers = etc.Servers
	}
	spec.Hostname, spec.Domainname, spec.Files = etc.Hostname, etc.Domain, etc.Files
	spec.Env = append([]string{"HOSTNAME=" + etc.Hostname}, spec.Env...)
	return spec, nil
}

// onHost gives a command on the host's network names and DNS servers of its own, where the flags ask for some.
func (o runFlags) onHost(spec *sandbox.Spec) error {
	if !o.named() {
		return nil
	}
	etc, err := o.etc(*spec)
	if err != nil {
		return usageError{err}
	}
	text := func(path string) string {
		content, _ := os.ReadFile(path) // one that is not there is not bound over either
		return string(content)
	}
	etc.Resolv = text("/etc/resolv.conf")
	files := etc.HostFiles(text("/etc/hosts"))
	if spec.Domainname = etc.Domain; o.hostname != "" {
		spec.Hostname, files["/etc/hostname"] = o.hostname, o.hostname+"\n"
		spec.Env = append([]string{"HOSTNAME=" + o.hostname}, spec.Env...)
	}
	spec.Files = func([]attachment.Attachment) map[string]string { return files }
	return nil
}

// named says whether a flag asks for names or DNS servers of the container's own.
func (o runFlags) named() bool {
	return o.hostname != "" || o.domainname != "" || len(o.servers)+len(o.search)+len(o.options)+len(o.hosts) > 0
}

// newID is 64 random hex digits, as Docker's.
func newID() string {
	var id [32]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return hex.EncodeToString(id[:])
}

// nameContainer checks the container's name, or makes one of its ID.
func (e *env) nameContainer(spec *sandbox.Spec) error {
	if spec.Name == "" {
		spec.Name = spec.ID[:12]
		return nil
	}
	if !isHostName(spec.Name) {
		return usageError{fmt.Errorf("--name %q: use letters, digits, '-', '_' and '.'", spec.Name)}
	}
	attached, err := e.runtime().List()
	if err != nil {
		return err
	}
	for _, a := range attached {
		if a.Name == spec.Name && a.Alive() {
			return fmt.Errorf("container %s has the name %s already: choose another", a.ID, spec.Name)
		}
	}
	return nil
}

// etc reads the flags about names and DNS.
func (o runFlags) etc(spec sandbox.Spec) (sandbox.Etc, error) {
	etc := sandbox.Etc{Hostname: o.hostname, Domain: o.domainname, Names: []string{spec.Name}, Search: o.search, Options: o.options, Resolv: hostResolv()}
	if etc.Hostname == "" {
		etc.Hostname = spec.Name
	}
	if !isHostName(etc.Hostname) || len(etc.Hostname) > 64 { // __NEW_UTS_LEN
		return etc, fmt.Errorf("--hostname %q: use up to 64 letters, digits, '-', '_' and '.'", etc.Hostname)
	}
	if etc.Domain != "" && (!isHostName(etc.Domain) || len(etc.Domain) > 64) {
		return etc, fmt.Errorf("--domainname %q: use up to 64 letters, digits, '-', '_' and '.'", etc.Domain)
	}
	for _, text := range o.servers {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return etc, fmt.Errorf("--dns %q: give the address of a server", text)
		}
		etc.Servers = append(etc.Servers, addr)
	}
	for _, domain := range o.search {
		if domain != "." && !isHostName(domain) { // the root: look nothing up (resolv.conf(5))
			return etc, fmt.Errorf("--dns-search %q: give a domain, or '.' for none", domain)
		}
	}
	for _, option := range o.options {
		if option == "" || strings.IndexFunc(option, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }) >= 0 {
			return etc, fmt.Errorf("--dns-option %q: give one option of resolv.conf(5), such as ndots:1", option)
		}
	}
	for _, text := range o.hosts {
		host, err := parseHost(text)
		if err != nil {
			return etc, err
		}
		etc.Hosts = append(etc.Hosts, host)
	}
	return etc, nil
}

// parseHost reads NAME:ADDRESS or NAME=ADDRESS.
func parseHost(text string) (host sandbox.Host, err error) {
	at := strings.IndexAny(text, ":=")
	if at < 0 || !isHostName(text[:at]) {
		return host, fmt.Errorf("--add-host %q: write NAME:ADDRESS", text)
	}
	host.Name = text[:at]
	address := text[at+1:]
	if address == "host-gateway" {
		return host, nil
	}
	if host.Addr, err = netip.ParseAddr(strings.Trim(address, "[]")); err != nil {
		return host, fmt.Errorf("--add-host %q: write NAME:ADDRESS, or NAME:host-gateway", text)
	}
	return host, nil
}

// resolvFiles name the host's servers. Where the first names systemd-resolved on loopback only, the second is the file in which that one
// keeps the servers it asks (systemd-resolved.service(8)).
var resolvFiles = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// hostResolv is the first of those files that names a server which containers reach, or the last one there is.
func hostResolv() string {
	text := ""
	for _, path := range resolvFiles {
		if found, err := os.ReadFile(path); err == nil {
			if text = string(found); sandbox.HasServers(text) {
				break
			}
		}
	}
	return text
}
