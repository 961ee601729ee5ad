package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// page is what the reader sees. Its columns: a mark, a label, a text.
type page struct {
	w      io.Writer
	colour bool
}

// Colours of ECMA-48, as "select graphic rendition".
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

// newPage colours only what a person looks at (https://no-color.org).
func newPage(f *os.File) *page {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return &page{w: f, colour: err == nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (p *page) paint(colour, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (p *page) section(name, about string) {
	fmt.Fprintf(p.w, "\n%s  %s\n", p.paint(bold, strings.ToUpper(name)), about)
}

func (p *page) step(title string) { fmt.Fprintf(p.w, "\n  %s\n", p.paint(bold, title)) }

// note is a line of explanation, or of something's text as it is.
func (p *page) note(text string) { fmt.Fprintf(p.w, "      %s\n", text) }

// typed is a command as a person types it.
func (p *page) typed(command string) {
	fmt.Fprintf(p.w, "    %s %s\n", p.paint(dim, "$"), p.paint(bold, command))
}

// typedOn is a command as a person types it on one of several hosts.
func (p *page) typedOn(host, command string) {
	fmt.Fprintf(p.w, "    %s %s\n", p.paint(dim, host+" $"), p.paint(bold, command))
}

// tick is something that was asked for and came about.
func (p *page) tick(label, text string) { p.line(p.paint(green, "✓"), label, text) }

// cross is something that is not as it should be.
func (p *page) cross(label, text string) { p.line(p.paint(red, "✗"), label, text) }

func (p *page) line(mark, label, text string) {
	fmt.Fprintf(p.w, "    %s %-22s %s\n", mark, label, text)
}

// object is one piece of kernel state and the namespace in which it was made.
func (p *page) object(namespace, command string) {
	fmt.Fprintf(p.w, "        %s %s\n", p.paint(dim, fmt.Sprintf("%-10s", namespace)), command)
}

func (p *page) closing(format string, args ...any) { fmt.Fprintf(p.w, "\n"+format+"\n", args...) }

// milliseconds is a duration as the demo writes it.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
