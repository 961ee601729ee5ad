package tuning

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// record is the settings of a link before they were changed. Files and keys are those of upstream's plugin v1.9.1, so that
// either serves the attachments of the other; Owner, by which GC finds the record's, is ours.
type record struct {
	Owner state.Owner `json:"fairway,omitzero"`

	MAC      string `json:"mac,omitempty"`
	Promisc  *bool  `json:"promisc,omitempty"`
	MTU      int    `json:"mtu,omitempty"`
	AllMulti *bool  `json:"allmulti,omitempty"`
	TxQLen   *int   `json:"txQLen,omitempty"`
}

// file is the owner's. Neither part of its name can hold a slash.
func (s Settings) file() string {
	return filepath.Join(s.Dir, s.Owner.ContainerID+"_"+s.Owner.IfName+".json")
}

// found is what the link has of the declared settings.
func (s Settings) found(a *netlink.LinkAttrs) record {
	r := record{Owner: s.Owner}
	if s.MAC != nil {
		r.MAC = a.HardwareAddr.String()
	}
	if s.Promisc {
		promisc := isPromisc(a)
		r.Promisc = &promisc
	}
	if s.MTU != 0 {
		r.MTU = a.MTU
	}
	if s.AllMulti != nil {
		allMulti := isAllMulti(a)
		r.AllMulti = &allMulti
	}
	if s.TxQLen != nil {
		length := a.TxQLen
		r.TxQLen = &length
	}
	return r
}

// write writes the record in place of an earlier one of the same name. Without a text there is none.
func (s Settings) write(text []byte) error {
	if text == nil {
		return s.dropRecord()
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("key dataDir: %w", err)
	}
	// All of it or nothing: a plugin may be killed. There is no flush, as the link does not outlast a power failure either.
	aside := s.file() + ".new"
	if err := os.WriteFile(aside, text, 0o600); err != nil {
		return err
	}
	return os.Rename(aside, s.file())
}

// recorded is the owner's record; ok is false when there is none. One that cannot be read says nothing, and goes.
func (s Settings) recorded() (r record, ok bool, err error) {
	text, err := os.ReadFile(s.file())
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	}
	if err != nil {
		return record{}, false, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		slog.Warn("settings of the link before ADD cannot be read, and stay as they are", "file", s.file(), "error", err)
		return record{}, true, nil
	}
	return r, true, nil
}

// dropRecord removes the record. Absence is success.
func (s Settings) dropRecord() error {
	if err := os.Remove(s.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// apply sets what was recorded, past errors. The MTU comes first: others may depend on it.
func (r record) apply(k *kernel.Kernel, link netlink.Link) error {
	n, name := k.Container, link.Attrs().Name
	var errs []error
	try := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("ip link set %s %s: %w", name, what, err))
		}
	}
	if r.MTU != 0 {
		try("mtu", n.LinkSetMTU(link, r.MTU))
	}
	if mac, err := net.ParseMAC(r.MAC); err == nil && differs(mac, link.Attrs().HardwareAddr) {
		try("address", n.LinkSetHardwareAddr(link, mac))
	}
	if r.Promisc != nil && *r.Promisc {
		try("promisc", n.SetPromiscOn(link))
	} else if r.Promisc != nil {
		try("promisc", n.SetPromiscOff(link))
	}
	if r.AllMulti != nil {
		try("allmulticast", setAllMulti(n, link, *r.AllMulti))
	}
	if r.TxQLen != nil {
		try("txqueuelen", n.LinkSetTxQLen(link, *r.TxQLen))
	}
	return errors.Join(errs...)
}

// Prune drops the records of a network's attachments that are not valid: the links went with their containers. Records of
// another suite's plugin do not say whose they are, and stay.
func Prune(dir, network string, valid []state.Owner) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var errs []error
	for _, e := range entries {
		var r record
		path := filepath.Join(dir, e.Name())
		text, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(text, &r) != nil {
			continue // dropped meanwhile, or none of ours
		}
		if r.Owner.Network == network && !slices.Contains(valid, r.Owner) {
			errs = append(errs, Settings{Owner: r.Owner, Dir: dir}.dropRecord())
		}
	}
	return errors.Join(errs...)
}
