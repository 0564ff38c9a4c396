package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
)

// figure is a row of panels that share a legend.
type figure struct {
	panels []panel
}

// panel is a pair of axes with lines. The x axis is always logarithmic; the y axis is if logY is set, otherwise it
// begins at 0.
type panel struct {
	title, xLabel, yLabel string
	// xTicks are the marks of the x axis.
	xTicks []tick
	logY   bool
	lines  []series
}

type tick struct {
	at    float64
	label string
}

// series is the line of one server.
type series struct {
	name   string
	look   look
	points []point
}

// point is a figure at x; low and high are its extremes, or the same as y.
type point struct{ x, y, low, high float64 }

// look is the appearance of a line, which is distinct with and without colour.
type look struct {
	color, dash string
	marker      marker
}

// Sizes are in pixels, the unit of all sizes in the SVG. The width of a letter is the average of sans-serif fonts.
const (
	plotWidth, plotHeight             = 250.0, 190.0
	leftMargin, rightMargin           = 62.0, 14.0
	topMargin, bottomMargin           = 24.0, 46.0
	legendHeight, letter, legendStart = 26.0, 6.4, 16.0
	legendKey, legendGap              = 34.0, 20.0
)

// writeSVG draws f.
func (f figure) writeSVG(w io.Writer) error {
	rows := f.legend()
	top := float64(len(rows))*legendHeight + 6
	height := top + topMargin + plotHeight + bottomMargin
	c := &canvas{}
	fmt.Fprintf(&c.out, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]s" height="%[2]s" `+
		`viewBox="0 0 %[1]s %[2]s" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="12">`+"\n",
		number(f.width()), number(height))
	// The background is white, because viewers may have a dark page.
	fmt.Fprintf(&c.out, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	for i, row := range rows {
		x, y := legendStart, legendHeight*(float64(i)+0.5)+4
		for _, l := range row {
			c.stroke([][2]float64{{x, y}, {x + legendKey - 6, y}}, l.look)
			c.mark(x+(legendKey-6)/2, y, l.look)
			c.text(x+legendKey, y+4, "start", l.name)
			x += legendKey + letter*float64(len(l.name)) + legendGap
		}
	}
	for i, p := range f.panels {
		p.draw(c, float64(i)*(leftMargin+plotWidth+rightMargin)+leftMargin, top+topMargin)
	}
	c.out.WriteString("</svg>\n")
	_, err := io.WriteString(w, c.out.String())
	return err
}

func (f figure) width() float64 {
	return float64(len(f.panels)) * (leftMargin + plotWidth + rightMargin)
}

// legend returns the lines of all panels, each once, in rows that fit.
func (f figure) legend() [][]series {
	var rows [][]series
	seen := map[string]bool{}
	x := math.Inf(1)
	for _, p := range f.panels {
		for _, l := range p.lines {
			if seen[l.name] {
				continue
			}
			seen[l.name] = true
			width := legendKey + letter*float64(len(l.name)) + legendGap
			if x+width > f.width() {
				rows, x = append(rows, nil), legendStart
			}
			rows[len(rows)-1] = append(rows[len(rows)-1], l)
			x += width
		}
	}
	return rows
}

// draw draws p's axes with their upper left corner at left, top.
func (p panel) draw(c *canvas, left, top float64) {
	low, high, ticks := p.yAxis()
	y := func(v float64) float64 {
		share := (v - low) / (high - low)
		if p.logY {
			share = math.Log(v/low) / math.Log(high/low)
		}
		return top + plotHeight*(1-share)
	}
	first, last := p.xRange()
	x := func(v float64) float64 {
		const inset = 10
		return left + inset + (plotWidth-2*inset)*math.Log(v/first)/math.Log(last/first)
	}
	for _, t := range ticks {
		c.rule(left, y(t.at), left+plotWidth, y(t.at), "#e4e4e4")
		c.text(left-7, y(t.at)+4, "end", t.label)
	}
	for _, t := range p.xTicks {
		c.rule(x(t.at), top+plotHeight, x(t.at), top+plotHeight+4, "#444444")
		c.text(x(t.at), top+plotHeight+17, "middle", t.label)
	}
	c.rule(left, top, left, top+plotHeight, "#444444")
	c.rule(left, top+plotHeight, left+plotWidth, top+plotHeight, "#444444")
	fmt.Fprintf(&c.out, `<text x="%s" y="%s" text-anchor="middle" font-weight="bold">%s</text>`+"\n",
		number(left+plotWidth/2), number(top-8), html.EscapeString(p.title))
	c.text(left+plotWidth/2, top+plotHeight+36, "middle", p.xLabel)
	fmt.Fprintf(&c.out, `<text transform="translate(%s %s) rotate(-90)" text-anchor="middle">%s</text>`+"\n",
		number(left-46), number(top+plotHeight/2), html.EscapeString(p.yLabel))
	for i := len(p.lines) - 1; i >= 0; i-- { // the first line is drawn last, on top
		l := p.lines[i]
		var path [][2]float64
		for _, at := range l.points {
			path = append(path, [2]float64{x(at.x), y(at.y)})
			if at.high > at.low {
				c.rule(x(at.x), y(max(at.low, low)), x(at.x), y(min(at.high, high)), l.look.color)
			}
		}
		c.stroke(path, l.look)
		for _, at := range path {
			c.mark(at[0], at[1], l.look)
		}
	}
}

func (p panel) xRange() (first, last float64) {
	return p.xTicks[0].at, p.xTicks[len(p.xTicks)-1].at
}

// yAxis returns the range of the y axis and its marks.
func (p panel) yAxis() (low, high float64, ticks []tick) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, l := range p.lines {
		for _, at := range l.points {
			low, high = min(low, at.low), max(high, at.high)
		}
	}
	if !p.logY {
		step := niceStep(high / 5)
		top := step * math.Ceil(high/step)
		for n := 0.0; n*step <= top*1.0001; n++ {
			ticks = append(ticks, tick{n * step, short(n * step)})
		}
		return 0, top, ticks
	}
	// The range extends from a multiple of 1, 2 or 5 of a decade to another; if there are many, only whole decades have
	// marks.
	first, last := 1/niceStep(1/low), niceStep(high)
	if first >= last {
		last *= 10
	}
	few := last/first <= 1000
	for decade := math.Floor(math.Log10(first)); decade <= math.Ceil(math.Log10(last)); decade++ {
		for _, n := range []float64{1, 2, 5} {
			at := n * math.Pow(10, decade)
			if at > first*0.999 && at < last*1.001 && (few || n == 1) {
				ticks = append(ticks, tick{at, strconv.FormatFloat(at, 'g', 6, 64)})
			}
		}
	}
	return first, last, ticks
}

// niceStep returns the smallest of 1, 2, 5, 10, 20 ... and their fractions that is not below least.
func niceStep(least float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(least)))
	for _, n := range []float64{1, 2, 5} {
		if n*decade >= least {
			return n * decade
		}
	}
	return 10 * decade
}

// short returns v as the label of an axis.
func short(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v/1000, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func number(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }
