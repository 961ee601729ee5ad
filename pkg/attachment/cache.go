package attachment

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/containernetworking/cni/pkg/utils"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/names"
)

// List is all attachments, alive or stale, sorted by network, name, ID and interface: those of all caches, and those that are
// unrecorded. No cache: none.
func (r Runtime) List() ([]Attachment, error) {
	all, _, err := r.list("")
	return all, err
}

// Damaged is the files of the caches that cannot be read, as a writer leaves them that was killed.
func (r Runtime) Damaged() ([]string, error) {
	_, damaged, err := r.records("")
	return damaged, err
}

// records are the attachments that are recorded, of one network or for an empty name of all.
func (r Runtime) records(network string) (all []Attachment, damaged []string, err error) {
	return r.chosen(network, func(string, []byte) bool { return true })
}

// chosen are those of records whose files are wanted, by name and content: to decode a record takes longer than to read it.
func (r Runtime) chosen(network string, wanted func(name string, content []byte) bool) (all []Attachment, damaged []string, err error) {
	for i, cache := range r.caches() {
		found, broken, err := readCache(cache, network, wanted)
		if err != nil && i == 0 {
			return nil, nil, fmt.Errorf("CNI's result cache: %w", err)
		}
		all, damaged = append(all, found...), append(damaged, broken...)
	}
	return all, damaged, nil
}

// list is List of one network, or for an empty name of all.
func (r Runtime) list(network string) (all []Attachment, damaged []string, err error) {
	observer := &liveness.Observer{Release: releaseNames}
	if all, damaged, err = r.records(network); err != nil {
		return nil, nil, err
	}
	for i := range all {
		all[i].observer = observer
	}
	all = append(all, r.unrecorded(observer, network, all)...)
	r.name(all)
	slices.SortFunc(all, func(a, b Attachment) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.DisplayName(), b.DisplayName()),
			cmp.Compare(a.ID, b.ID), cmp.Compare(a.IfName, b.IfName))
	})
	return all, damaged, nil
}

// name gives attachments the names that their records do not tell. nerdctl's records tell a host name at most.
func (r Runtime) name(all []Attachment) {
	unnamed := func(a Attachment) bool { return a.record == nil || arg(a.record, argName) == "" }
	if r.Names == nil || !slices.ContainsFunc(all, unnamed) {
		return
	}
	names := r.Names()
	for i, a := range all {
		if name := names[a.ID]; name != "" && unnamed(a) {
			all[i].Name = name
		}
	}
}

// releaseNames asks the resolver of names to leave the namespaces of containers that have gone.
func releaseNames() {
	if cookie, err := kernel.HostCookie(); err == nil {
		_ = names.OnHost(cookie).TellToRelease() // where none runs, none holds anything
	}
}

const resultsDir = "results"

// dir is libcni's directory, in which it keeps its files in results.
func (r Runtime) dir() string { return cmp.Or(r.Cache, libcni.CacheDir) }

// caches are the directories of libcni: first the Runtime's, then those below it that others have, such as Multus.
func (r Runtime) caches() []string {
	caches := []string{r.dir()}
	below, _ := filepath.Glob(filepath.Join(r.dir(), "*", resultsDir)) // the pattern is sound, unless the directory's name is odd
	for _, results := range below {
		if dir := filepath.Dir(results); filepath.Base(dir) != "networks" { // host-local's: its directories are named after networks
			caches = append(caches, dir)
		}
	}
	return caches
}

// record is a file of libcni's cache (libcni, cachedInfo).
type record struct {
	Kind           string          `json:"kind"`
	ContainerID    string          `json:"containerId"`
	Config         []byte          `json:"config"`
	IfName         string          `json:"ifName"`
	NetworkName    string          `json:"networkName"`
	NetNS          string          `json:"netns,omitempty"`
	CniArgs        [][2]string     `json:"cniArgs,omitempty"`
	CapabilityArgs map[string]any  `json:"capabilityArgs,omitempty"`
	Result         json.RawMessage `json:"result,omitempty"`
}

// readCache reads the records of one cache, of one network or for an empty name of all; damaged are the files that hold no JSON, or names that
// no runtime can have given. Other files are another's.
func readCache(cache, network string, wanted func(name string, content []byte) bool) (all []Attachment, damaged []string, err error) {
	dir := filepath.Join(cache, resultsDir)
	mayBe := func(file string) bool { return network == "" || strings.HasPrefix(file, network+"-") }
	err = eachFile(dir, mayBe, func(name string, content []byte, err error) {
		if err == nil && !wanted(name, content) {
			return
		}
		var found record
		var ours bool
		if err == nil {
			found, ours, err = decodeRecord(content)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // detached meanwhile
		case err != nil:
			damaged = append(damaged, filepath.Join(dir, name))
		case ours && (network == "" || found.NetworkName == network):
			all = append(all, found.attachment(cache))
		}
	})
	return all, damaged, err
}

var (
	errTorn  = errors.New("not JSON: its writer was killed, or the disk was full")
	errNames = errors.New("no runtime attaches by such names")
)

// readRecord reads a file of the cache. It is not ours when it is no record of an attachment.
func readRecord(path string) (found record, ours bool, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return record{}, false, err
	}
	return decodeRecord(content)
}

func decodeRecord(content []byte) (found record, ours bool, err error) {
	err = json.Unmarshal(content, &found) // which looks at all of it before it takes anything
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return record{}, false, errTorn
	case err != nil || found.Kind != libcni.CNICacheV1 || found.IfName == "" || found.NetworkName == "":
		return record{}, false, nil
	case utils.ValidateNetworkName(found.NetworkName) != nil || utils.ValidateContainerID(found.ContainerID) != nil ||
		utils.ValidateInterfaceName(found.IfName) != nil:
		return record{}, false, errNames // they would be paths
	}
	return found, true, nil
}

func (f record) attachment(cache string) Attachment {
	a := describe(&libcni.NetworkAttachment{
		ContainerID: f.ContainerID, Network: f.NetworkName, IfName: f.IfName, Config: f.Config, NetNS: f.NetNS,
		CniArgs: f.CniArgs, CapabilityArgs: f.CapabilityArgs,
	}, f.result())
	a.cache = cache
	return a
}

// result is nil when the record holds none that can be read: the attachment is there nevertheless.
func (f record) result() *types100.Result {
	if len(f.Result) == 0 {
		return nil
	}
	cached, err := create.CreateFromBytes(f.Result)
	if err != nil {
		return nil
	}
	result, err := types100.NewResultFromResult(cached)
	if err != nil {
		return nil
	}
	return result
}

// file is where libcni keeps the record.
func (a Attachment) file() string {
	return filepath.Join(a.cache, resultsDir, a.Network+"-"+a.ID+"-"+a.IfName)
}

// Of is the attachments of one network that are alive.
func Of(network string, all []Attachment) (alive []Attachment) {
	for _, a := range all {
		if a.Network == network && a.Alive() {
			alive = append(alive, a)
		}
	}
	return alive
}

// setAside moves a file of a cache that nobody can read to where it is in nobody's way, and says so.
func (r Runtime) setAside(path string, why error) {
	dir := filepath.Join(r.dir(), "damaged")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Rename(path, filepath.Join(dir, filepath.Base(path)))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist): // it was removed meanwhile
	case err != nil:
		r.warn(fmt.Errorf("record %s is damaged (%w), and cannot be set aside: %w", path, why, err))
	default:
		r.warn(fmt.Errorf("record %s is damaged (%w): it was moved to %s", path, why, dir))
	}
}

// SetAsideDamaged moves all files of caches that cannot be read to where they are in nobody's way, and says so.
func (r Runtime) SetAsideDamaged() error { return r.setAsideDamaged("") }

// setAsideDamaged does so with those of a network, or for an empty name with all. The name of a file begins with the network's.
func (r Runtime) setAsideDamaged(network string) error {
	_, damaged, err := r.records(network)
	r.setAsideOf(network, damaged)
	return err
}

// setAsideOf does so with those of some files that are of a network.
func (r Runtime) setAsideOf(network string, damaged []string) {
	for _, path := range damaged {
		if network == "" || strings.HasPrefix(filepath.Base(path), network+"-") {
			if why := stillDamaged(path); why != nil {
				r.setAside(path, why)
			}
		}
	}
}

// stillDamaged looks again at a file that was written a moment ago: its writer may not have ended.
func stillDamaged(path string) error {
	const writing = time.Second
	info, err := os.Stat(path)
	if err != nil {
		return nil // it was removed meanwhile
	}
	time.Sleep(min(time.Until(info.ModTime().Add(writing)), writing))
	_, _, err = readRecord(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (r Runtime) warn(err error) {
	if r.Warn != nil {
		r.Warn(err)
	}
}
