package main

import (
	"fmt"
	"html"
	"strings"
)

// canvas is the content of an SVG file.
type canvas struct{ out strings.Builder }

// marker is the shape of a line's points.
type marker int

const (
	circle marker = iota
	square
	triangle
	diamond
	noMarker
)

func (c *canvas) text(x, y float64, anchor, text string) {
	fmt.Fprintf(&c.out, `<text x="%s" y="%s" text-anchor="%s">%s</text>`+"\n", number(x), number(y), anchor,
		html.EscapeString(text))
}

// rule draws a thin straight line.
func (c *canvas) rule(x1, y1, x2, y2 float64, color string) {
	fmt.Fprintf(&c.out, `<line x1="%s" y1="%s" x2="%s" y2="%s" stroke="%s"/>`+"\n", number(x1), number(y1), number(x2),
		number(y2), color)
}

// stroke draws the line through the points.
func (c *canvas) stroke(points [][2]float64, l look) {
	var path []string
	for _, p := range points {
		path = append(path, number(p[0])+","+number(p[1]))
	}
	dash := ""
	if l.dash != "" {
		dash = " stroke-dasharray='" + l.dash + "'"
	}
	fmt.Fprintf(&c.out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.8"%s/>`+"\n",
		strings.Join(path, " "), l.color, dash)
}

func (c *canvas) mark(x, y float64, l look) {
	const r = 3.6
	shape := func(corners ...float64) {
		var at []string
		for i := 0; i < len(corners); i += 2 {
			at = append(at, number(x+corners[i])+","+number(y+corners[i+1]))
		}
		fmt.Fprintf(&c.out, `<polygon points="%s" fill="%s"/>`+"\n", strings.Join(at, " "), l.color)
	}
	switch l.marker {
	case circle:
		fmt.Fprintf(&c.out, `<circle cx="%s" cy="%s" r="%s" fill="%s"/>`+"\n", number(x), number(y), number(r), l.color)
	case square:
		shape(-r, -r, r, -r, r, r, -r, r)
	case triangle:
		shape(0, -r-1, r+1, r, -r-1, r)
	case diamond:
		shape(0, -r-1.4, r+1.4, 0, 0, r+1.4, -r-1.4, 0)
	case noMarker:
	}
}
