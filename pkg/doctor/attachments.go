package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containernetworking/cni/pkg/version"

	"github.com/fairway-cni/fairway/pkg/attachment"
)

// checkAttachments runs CHECK of every attachment that is alive. What another check has found of one already is not said twice.
func checkAttachments(ctx context.Context, h *Host) ([]Finding, error) {
	var asked []attachment.Attachment
	for _, a := range h.Alive {
		if !a.Unrecorded && !slices.Contains(h.troubled, a.Owner()) {
			asked = append(asked, a)
		}
	}
	left := 0
	if len(asked) > h.MostChecked && h.MostChecked > 0 {
		all := len(asked)
		odd, err := h.odd(asked)
		if err != nil {
			return nil, err
		}
		asked = append(odd, slices.DeleteFunc(h.sample(asked), func(a attachment.Attachment) bool {
			return slices.ContainsFunc(odd, func(o attachment.Attachment) bool { return o.Owner() == a.Owner() })
		})...)
		asked = asked[:min(len(asked), h.MostChecked)]
		left = all - len(asked)
	}
	findings := together(asked, func(a attachment.Attachment) []Finding { return h.ask(ctx, a) })
	if left > 0 {
		findings = append(findings, Finding{Level: OK, Message: sampled(len(asked), left)})
	}
	return findings, nil
}

// odd are the attachments that have less on the host than most of their network have: of an element that is missing only CHECK knows whether
// it should be there. One listing tells it of all of them. They are as many as are asked otherwise, at most.
func (h *Host) odd(all []attachment.Attachment) (odd []attachment.Attachment, err error) {
	marks, err := h.marked()
	if err != nil {
		return nil, err
	}
	kinds := make(map[string]int) // how many objects, by the tag
	for _, holding := range marks.Holdings {
		kinds[holding.Tag]++
	}
	usual := make(map[string]map[int]int) // of a network: how many attachments have so many objects
	for _, a := range all {
		if usual[a.Network] == nil {
			usual[a.Network] = make(map[int]int)
		}
		usual[a.Network][kinds[a.Owner().Tag()]]++
	}
	for _, a := range all {
		most := 0
		for n, times := range usual[a.Network] {
			if times > usual[a.Network][most] || times == usual[a.Network][most] && n > most {
				most = n
			}
		}
		if kinds[a.Owner().Tag()] < most && len(odd) < h.MostChecked {
			odd = append(odd, a)
		}
	}
	return odd, nil
}

// checkable says whether the network of an attachment has CHECK, and plugins that answer.
func (h *Host) checkable(a attachment.Attachment) bool {
	for _, n := range h.Networks.All {
		if n.Name == a.Network && n.List != nil {
			has, err := version.GreaterThanOrEqualTo(n.List.CNIVersion, "0.4.0")
			return err == nil && has && !n.List.DisableCheck && !h.hangs(n.List)
		}
	}
	return false // of no network that is known
}

// ask runs one CHECK, unless another one was not answered meanwhile.
func (h *Host) ask(ctx context.Context, a attachment.Attachment) []Finding {
	if !h.checkable(a) {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := h.Runtime.Check(bounded, a)
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return h.noteHanging(a.Network, "CHECK")
	}
	w := way{h: h, a: a}
	return []Finding{errorf("container %s: %v", a.DisplayName(), err).command("fairway repair %s", shell(a.Network)).
		remedy("where that does not help, %s", w.again())}
}

// sample takes some attachments of each network in turn.
func (h *Host) sample(all []attachment.Attachment) []attachment.Attachment {
	of := make(map[string][]attachment.Attachment)
	var names []string
	for _, a := range all {
		if of[a.Network] == nil {
			names = append(names, a.Network)
		}
		of[a.Network] = append(of[a.Network], a)
	}
	var some []attachment.Attachment
	for i := 0; len(some) < h.MostChecked; i++ {
		for _, name := range names {
			if i < len(of[name]) && len(some) < h.MostChecked {
				some = append(some, of[name][i])
			}
		}
	}
	return some
}

func sampled(asked, left int) string {
	return fmt.Sprintf("%d attachments were asked, some of each network and those that have less than others of it, and %d were not: --check attachments asks all", asked, left)
}
