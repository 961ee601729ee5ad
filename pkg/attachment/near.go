package attachment

import (
	"bytes"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/liveness"
)

// In is the attachments that may be of the container in a namespace: those recorded for it, and those that the kernel has there without
// a record. Unlike List it costs hardly more beside thousands of others, whose records are not decoded.
func (r Runtime) In(netns string) ([]Attachment, error) {
	all, _, err := r.near(netns, "", "")
	return all, err
}

// near is In, and what has been left on a network by a container of the ID, or by any of fairway's that has gone. Damaged are the files that
// may be of these and cannot be read.
func (r Runtime) near(netns, network, id string) (all []Attachment, damaged []string, err error) {
	there, err := kernel.Identify(netns)
	if err != nil {
		return nil, nil, err
	}
	n := near{there: there, observer: &liveness.Observer{Release: releaseNames}, network: network, id: id}
	if all, damaged, err = r.chosen("", n.wants); err != nil {
		return nil, nil, err
	}
	for i := range all {
		all[i].observer = n.observer
	}
	found, err := n.unrecorded(netns, all)
	all = append(all, found...)
	r.name(all)
	return all, damaged, err
}

// near chooses records by what their files hold as text.
type near struct {
	there       kernel.NamespaceID
	observer    *liveness.Observer
	network, id string
}

// The beginnings of what libcni writes of the namespace and of CNI_ARGS (encoding/json, without spaces).
var (
	netnsText = []byte(`"netns":"`)
	markText  = []byte(`"` + argNetns + `","`)
)

func textAfter(content, begin []byte) (string, bool) {
	_, rest, ok := bytes.Cut(content, begin)
	text, _, closed := bytes.Cut(rest, []byte(`"`))
	return string(text), ok && closed && !bytes.ContainsRune(text, '\\')
}

// wants says whether the record may be one that is looked for. In doubt it is.
func (n near) wants(name string, content []byte) bool {
	own := n.network != "" && strings.HasPrefix(name, n.network+"-")
	if own && strings.HasPrefix(name, n.network+"-"+n.id+"-") {
		return true
	}
	path, ok := textAfter(content, netnsText)
	if !ok {
		return true
	}
	if text, marked := textAfter(content, markText); marked {
		mark, ok := liveness.ParseMark(text)
		return !ok || mark.Namespace().Is(n.there) || own && !mark.Namespace().At(path) // else it is certainly alive
	}
	return n.there.MayBeAt(path)
}

// unrecorded is what the kernel has in the namespace of which no record is known, as Runtime.unrecorded finds it of all.
func (n near) unrecorded(netns string, recorded []Attachment) (found []Attachment, err error) {
	known := map[string]bool{}
	for _, a := range recorded {
		known[a.Owner().Tag()] = true
	}
	ends, err := liveness.HostEndsIn(netns)
	if err != nil {
		return nil, err
	}
	for _, end := range ends {
		owner, ok := end.Owner()
		if known[end.Alias] || owner.Network == "" {
			continue
		}
		if !ok {
			owner.ContainerID, owner.IfName = end.Alias, "unknown"
		}
		a := unrecordedOf(owner, n.observer)
		a.tagOnly, a.Netns = !ok, netns
		a.readInterface(n.observer)
		found = append(found, a)
	}
	for owner := range n.observer.Claimed() {
		mark, ok := n.observer.ClaimOf(owner)
		if known[owner.Tag()] || !ok || !mark.Namespace().Is(n.there) {
			continue
		}
		a := unrecordedOf(owner, n.observer)
		a.mark, a.Netns = mark, netns
		if a.readInterface(n.observer) { // else it is a claim of an ADD that was killed
			found = append(found, a)
		}
	}
	return found, nil
}
