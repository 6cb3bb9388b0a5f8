package web

import (
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
)

// Plot is a picture of numbers in a row: bars, beside each other for each label. It says what it shows in words too, and the page that has it has the numbers in a table.
type Plot struct {
	Title, Description string
	Labels             []string
	Series             []Series // at most MaxSeries, as bars
	Lines              []Series // at most MaxSeries, as steps across the bars: what they are held against
	Marks              Series   // above the bars of labels where it is not zero
}

// Series is one number for each label of a plot.
type Series struct {
	Name   string
	Values []uint64
}

// MaxSeries are told apart by their colors and by where they are.
const MaxSeries = 3

// The measures of a plot, in units of its view box.
const (
	plotWidth, plotHeight                    = 960, 300
	plotLeft, plotRight, plotTop, plotBottom = 70, 10, 40, 60

	highest    = 1 << 60 // value that is told from others
	plotTicks  = 5       // lines across it, about
	plotLabels = 24      // of them so many are written at most
)

// SVG draws the plot, to be put into a page or to be kept as a file. Nothing in it is styled here: its classes are plot-0 to plot-2 for the bars, plot-line for the lines.
func (p *Plot) SVG() []byte {
	var b strings.Builder
	most := uint64(0)
	for _, s := range slices.Concat(p.Series, p.Lines) {
		for _, v := range s.Values {
			most = min(max(most, v), highest)
		}
	}
	step := tick(most)
	top := max((most+step-1)/step, 1) * step
	const width, height = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
	y := func(v uint64) float64 { return plotTop + height*(1-float64(min(v, top))/float64(top)) }
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 %d %d" role="img" aria-labelledby="plot-title plot-desc" font-size="12" font-family="sans-serif" fill="currentColor">`, plotWidth, plotHeight)
	fmt.Fprintf(&b, `<title id="plot-title">%s</title><desc id="plot-desc">%s</desc>`, html.EscapeString(p.Title), html.EscapeString(p.Description))
	for v := uint64(0); v <= top; v += step {
		fmt.Fprintf(&b, `<line class="plot-line" x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="currentColor" stroke-opacity="0.25"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`, plotLeft, plotWidth-plotRight, y(v), y(v), plotLeft-6, y(v)+4, short(v))
	}
	p.legend(&b)
	if len(p.Labels) > 0 {
		each := float64(width) / float64(len(p.Labels))
		p.bars(&b, each, y)
		p.steps(&b, each, y)
	}
	b.WriteString("</svg>")
	return []byte(b.String())
}

// legend names the series, the lines and the marks, in this order.
func (p *Plot) legend(b *strings.Builder) {
	x := plotLeft
	name := func(s Series, sign string, args ...any) {
		fmt.Fprintf(b, sign, args...)
		fmt.Fprintf(b, `<text x="%d" y="23">%s</text>`, x+18, html.EscapeString(brief(s.Name)))
		x += 40 + 8*len([]rune(brief(s.Name)))
	}
	for n, s := range p.Series {
		name(s, `<rect class="plot-%d" x="%d" y="12" width="12" height="12"%s/>`, n, x, plain(n))
	}
	for n, s := range p.Lines {
		name(s, `<line x1="%d" x2="%d" y1="18" y2="18" stroke="currentColor" stroke-width="2"%s/>`, x, x+12, dashes(n))
	}
	if p.Marks.Name != "" {
		name(p.Marks, `<path d="M%d 12h12l-6 10z"/>`, x)
	}
}

// dashes tell lines apart.
func dashes(n int) string {
	return []string{"", ` stroke-dasharray="8 4"`, ` stroke-dasharray="2 3"`}[n%MaxSeries]
}

// steps draws the lines, and the marks at the top.
func (p *Plot) steps(b *strings.Builder, each float64, y func(uint64) float64) {
	for n, s := range p.Lines {
		var d strings.Builder
		for i, v := range s.Values[:min(len(s.Values), len(p.Labels))] {
			to := plotLeft + float64(i+1)*each
			if i == 0 {
				fmt.Fprintf(&d, "M%d %.2f", plotLeft, y(v))
			} else if v != s.Values[i-1] {
				fmt.Fprintf(&d, "V%.2f", y(v))
			}
			if i+1 == len(p.Labels) || i+1 == len(s.Values) || s.Values[i+1] != v {
				fmt.Fprintf(&d, "H%.2f", to)
			}
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="currentColor" stroke-width="2"%s><title>%s</title></path>`, d.String(), dashes(n), html.EscapeString(s.Name))
	}
	for i, v := range p.Marks.Values[:min(len(p.Marks.Values), len(p.Labels))] {
		if v > 0 {
			x := plotLeft + (float64(i)+0.5)*each
			fmt.Fprintf(b, `<path d="M%.2f %dh10l-5 9z"><title>%s, %s: %d</title></path>`, x-5, plotTop-10, html.EscapeString(p.Labels[i]), html.EscapeString(p.Marks.Name), v)
		}
	}
}

// bars draws the values, each with its words, and the labels below.
func (p *Plot) bars(b *strings.Builder, each float64, y func(uint64) float64) {
	bar := each * 0.8 / float64(max(len(p.Series), 1))
	for i, label := range p.Labels {
		x := plotLeft + (float64(i)+0.1)*each
		for n, s := range p.Series {
			if i < len(s.Values) && s.Values[i] > 0 {
				v := s.Values[i]
				fmt.Fprintf(b, `<rect class="plot-%d" x="%.2f" y="%.2f" width="%.2f" height="%.2f"%s><title>%s, %s: %d</title></rect>`, n, x+float64(n)*bar, y(v), bar, y(0)-y(v), plain(n), html.EscapeString(label), html.EscapeString(s.Name), v)
			}
		}
		if every := (len(p.Labels) + plotLabels - 1) / plotLabels; i%every == 0 {
			fmt.Fprintf(b, `<text x="%.2f" y="%d" text-anchor="end" transform="rotate(-30 %.2f %d)">%s</text>`, x+each*0.4, plotHeight-plotBottom+16, x+each*0.4, plotHeight-plotBottom+16, html.EscapeString(brief(label)))
		}
	}
}

// plain is the color of a series where there is no style.
func plain(n int) string {
	return ` fill="` + []string{"#0b5cad", "#a40e26", "#7d4e00"}[n%MaxSeries] + `"`
}

// tick is the distance of the lines across a plot whose highest value is most: 1, 2 or 5 and zeros.
func tick(most uint64) uint64 {
	step := uint64(1)
	for {
		for _, f := range []uint64{1, 2, 5} {
			if most/plotTicks <= step*f && (most < plotTicks || most-1 < step*f*plotTicks) {
				return step * f
			}
		}
		if step > 1<<59 {
			return step
		}
		step *= 10
	}
}

// short is a number in few letters.
func short(v uint64) string {
	for _, unit := range []struct {
		from, of uint64
		name     string
	}{{1e12, 1e12, "T"}, {1e9, 1e9, "G"}, {1e6, 1e6, "M"}, {1e4, 1e3, "k"}} {
		if v >= unit.from {
			return strconv.FormatFloat(float64(v)/float64(unit.of), 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatUint(v, 10)
}

// brief is a label that fits.
func brief(s string) string {
	const most = 18
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
