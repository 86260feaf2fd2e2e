-- pandoc reader: the blocks that report/press/export.py found in a notebook (JSON) -> one document.
--
-- Both outputs are written from this document, so they number, refer and cite alike. Markdown keeps the look it has in
-- JupyterLab: `# Data <!-- #sec-data -->` labels a heading, `[the figure](#fig-6a)` becomes "Figure 6a".

-- What JupyterLab reads too, plus footnotes; no syntax for attributes or raw output formats.
local DIALECT = 'markdown_strict-four_space_rule+all_symbols_escapable+autolink_bare_uris+backtick_code_blocks'
  .. '+footnotes+inline_notes+intraword_underscores+lists_without_preceding_blankline+pipe_tables'
  .. '+shortcut_reference_links+smart+startnum+strikeout+tex_math_dollars'
local NAMES = {fig = 'Figure', tbl = 'Table', sec = 'Section'}

local html          -- is the output HTML (else Typst)?
local dialect       -- DIALECT, with citations where there is a bibliography
local mark          -- is around what stands for a picture; no text has it
local places        -- of the cells, for messages
local cell          -- number of the cell whose texts are read, if it is one's
local numbers = {}  -- label -> '6a'
local alone = {}    -- label of what is on the page alone -> that of what has the same in print, or true
local taken = {}    -- every id and every figure's number that is in use
local depth = 0     -- level of the last heading; the next one is at most one deeper
local letters       -- do chapters have letters?
local count = {unnumbered = 0, heading = {0, 0, 0, 0, 0}}

local function fail(message) error((cell and places[cell + 1] .. ': ' or '') .. message, 0) end

local function claim(id, what)
  if taken[id] then fail(what .. ' is used twice') end
  taken[id] = true
end

local function raw(text) return pandoc.RawBlock(html and 'html' or 'typst', text) end
local function raw_inline(text) return pandoc.RawInline(html and 'html' or 'typst', text) end

-- HTML never arrives as markup. Comments vanish, and what Markdown can say too is read into the document; of the rest
-- what would show something is refused, and all other HTML is shown as text.
local function names(words)
  local set = {}
  for word in words:gmatch '%S+' do set[word] = true end
  return set
end
local READ = names [[a abbr b big blockquote br caption center cite code col colgroup dd del details dfn div dl dt em
  figcaption figure font h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp section small span strike strong
  sub summary sup table tbody td tfoot th thead tr tt u ul var]]
local REFUSED = names 'audio canvas embed iframe object video'

local function readable(text)  -- is it HTML that is read? If not, the second value is the tag that is to blame
  local some = false
  for tag in text:gsub('<!%-%-.-%-%->', ''):gmatch '<(.[^%s/>]*)' do
    tag = tag:gsub('^/', ''):lower()
    if REFUSED[tag] then fail('<' .. tag .. '> cannot be shown; show a picture instead, or link to it') end
    if tag:match '^[%a!?]' and not READ[tag] then return false, tag end
    some = true
  end
  return some
end

local bare = {}  -- what HTML says beyond Markdown goes: ids, classes, colours, scripts
for _, kind in ipairs {'Div', 'Span'} do bare[kind] = function(element) return element.content end end
for _, kind in ipairs {'Code', 'CodeBlock', 'Figure', 'Header', 'Link'} do
  bare[kind] = function(element)
    element.attr = pandoc.Attr()
    return element
  end
end
function bare.Table(tbl)
  local parts = pandoc.List {tbl.head.rows, tbl.foot.rows}
  for _, body in ipairs(tbl.bodies) do
    body.attr = pandoc.Attr()
    parts:extend {body.head, body.body}
  end
  for _, rows in ipairs(parts) do
    for _, row in ipairs(rows) do
      row.attr = pandoc.Attr()
      for _, part in ipairs(row.cells) do part.attr = pandoc.Attr() end
    end
  end
  tbl.attr, tbl.head.attr, tbl.foot.attr = pandoc.Attr(), pandoc.Attr(), pandoc.Attr()
  return tbl
end

-- In HTML an image whose name is the mark and a number stands for what is not HTML: an inline, or blocks, in `held`.
local function hold(held, content)
  held:insert(content)
  return '<img src="' .. mark .. #held .. '">'
end

local function from_html(text, held)
  local function of(image) return image.t == 'Image' and held[tonumber(image.src:match('^' .. mark .. '(%d+)$'))] end
  local function block(paragraph)
    local content = #paragraph.content == 1 and of(paragraph.content[1])
    return content and pandoc.utils.type(content) == 'Blocks' and content or nil
  end
  local function inline(image)
    local content = of(image)
    return content and pandoc.utils.type(content) ~= 'Blocks' and content or nil
  end
  local blocks = pandoc.read(text, 'html').blocks:walk(bare):walk {Image = inline, Para = block, Plain = block}
  return pandoc.Blocks(blocks:map(function(each) return each.t == 'Plain' and pandoc.Para(each.content) or each end))
end

local parse

-- As in JupyterLab, Markdown goes on behind an empty line in HTML, unless a tag begins the next one.
local function html_block(raw)
  local held, chunks, tags = pandoc.List {}, {}, {}
  for chunk in (raw.text:match '<pre' and raw.text or raw.text:gsub('\n%s*\n', '\0')):gmatch '%Z+' do
    if #chunks == 0 or chunk:match '^%s*<' then
      table.insert(tags, chunk)
      table.insert(chunks, chunk)
    else
      table.insert(chunks, '<div>' .. hold(held, parse(chunk)) .. '</div>')
    end
  end
  if raw.format ~= 'html' or not readable(table.concat(tags, '\n')) then return end
  return from_html(table.concat(chunks, '\n'), held)
end

local function html_inlines(inlines)
  local held, tags = pandoc.List {}, {}
  for _, inline in ipairs(inlines) do
    local tag = inline.t == 'RawInline' and inline.format == 'html' and readable(inline.text)
    table.insert(tags, tag and inline.text or hold(held, inline))
  end
  if #held < #inlines then
    return pandoc.utils.blocks_to_inlines(from_html(table.concat(tags), held), {pandoc.LineBreak()})
  end
end

local function literal(raw)
  if raw.format == 'tex' and raw.text:match '^\\begin' then return pandoc.Math('DisplayMath', raw.text) end
  return raw.text:match '^<!%-%-' and {} or pandoc.Str(raw.text)
end

-- Markdown can say a character by its number. One that cannot be printed would hide from the writers what comes next,
-- which at the beginning of a line they must escape: "- x" would become a list.
local UNPRINTABLE = {'[%z\1-\8\11\12\14-\31\127]', '\u{feff}', '\xc2[\x80-\x9f]', '\xef\xbf[\xbe\xbf]'}
local function printable(str)
  for _, pattern in ipairs(UNPRINTABLE) do str.text = str.text:gsub(pattern, '') end
  return str.text ~= '' and str or {}
end

local safe = {
  RawInline = literal,
  Str = printable,
  RawBlock = function(raw)
    local inline = literal(raw)
    return inline.text and pandoc.Para {inline} or {}
  end,
  Image = function(image)  -- export.py finds it; an address on the web would be a request when the page opens
    if image.src:match '^https?:' then
      return pandoc.Link(#image.caption > 0 and image.caption or image.src, image.src)
    end
    local width = image.attributes.width or (image.attributes.style or ''):match 'width:%s*([%d.]+%a*%%?)' or ''
    width = width:match '^[%d.]+$' and width .. 'px' or width:match '^[%d.]+px$' or width:match '^[%d.]+%%$' or ''
    local alt = pandoc.utils.stringify(#image.caption > 0 and image.caption or image.title)
    local found = pandoc.json.encode {cell = cell, source = image.src, alt = alt, width = width}
    return raw_inline(mark .. found .. mark)
  end,
  Para = function(para)  -- a picture by itself
    local only = #para.content == 1 and para.content[1]
    if only and only.t == 'RawInline' and only.text:find(mark, 1, true) then
      return pandoc.Figure({pandoc.Plain(para.content)}, {})
    end
  end,
  Header = function(heading)
    for _, inline in ipairs(heading.content) do
      if inline.t == 'RawInline' and inline.text:find(mark, 1, true) then
        fail('a picture in the heading "' .. pandoc.utils.stringify(heading) .. '" cannot be shown; put it below')
      end
    end
  end,
  Link = function(link)
    if #link.content == 0 then link.content = {pandoc.Str(link.target)} end
    if link.target:match '^#.' or link.target:match '^https?://' or link.target:match '^mailto:' then return link end
    -- A file beside the notebook is not beside the report, and other schemes are not wanted: its name is shown.
    if link.target:match '^#?$' or link.target == pandoc.utils.stringify(link.content) then return link.content end
    link.content:extend {pandoc.Space(), pandoc.Str '(', pandoc.Code(link.target), pandoc.Str ')'}
    return link.content
  end,
}

local function check_notes(blocks, text)
  local missing
  blocks:walk {Str = function(str) missing = missing or str.text:match '%[(%^[%w_-]+)%]' end}
  if missing and text then  -- it may have been escaped, which reads the same: look again without what is escaped
    check_notes(pandoc.read(text:gsub('\\[%[%]^\\]', ''), dialect).blocks)
  elseif missing then
    fail('footnote [' .. missing .. '] has no text in its cell')
  end
end

local function label_of(heading)
  for _, inline in ipairs(heading.content) do
    local label = inline.t == 'RawInline' and inline.text:match '^<!%-%-%s*#(sec%-[%w-]+)%s*%-%->$'
    if label then return label end
  end
end

function parse(text)
  local tex = text:match '\\begin%s*{' and '+raw_tex' or ''  -- JupyterLab sets environments outside of $$, too
  local blocks = pandoc.read(text, dialect .. tex, {columns = 100000}).blocks
  check_notes(blocks, text)
  blocks = blocks:walk {Header = function(heading)
    heading.identifier = label_of(heading) or ''
    local content = heading.content
    while #content > 0 and (content[#content].t == 'Space' or (content[#content].text or ''):match '^<!%-%-') do
      content:remove()
    end
    return heading
  end}
  return blocks:walk {RawBlock = html_block, Inlines = html_inlines}
end

local function read(text) return parse(text):walk(safe) end

local function inlines(text) return pandoc.utils.blocks_to_inlines(read(text)) end

-- A link to a place itself, for whoever wants to send it; its sign is in the style sheet, so that no text has it.
local function permalink(id, what)
  local name = what:gsub('[&<>"]', {['&'] = '&amp;', ['<'] = '&lt;', ['>'] = '&gt;', ['"'] = '&quot;'})
  return raw_inline('<a class="permalink" href="#' .. id .. '" aria-label="Link to ' .. name .. '"></a>')
end

local function caption(word, block)
  local head = pandoc.Strong {pandoc.Str(word), pandoc.Str '\u{a0}', pandoc.Str(block.number .. '.')}
  local content = pandoc.Inlines {head, pandoc.Space()}
  content:extend(inlines(block.caption))
  if html then content:insert(permalink(block.id, word .. ' ' .. block.number)) end
  return content
end

local function scrolling(tbl, name, value)  -- a wide table scrolls by itself, by keyboard too; the page does not
  return pandoc.Div({tbl}, {'', {'scroll'}, {{'role', 'region'}, {'tabindex', '0'}, {name, value}}})
end

-- Typst gives each column its natural width and the template then makes the type smaller until all of them fit. Columns
-- of prose are better wrapped: in a table that is too wide they share what the others leave.
local LINE, GAP, PROSE = 96, 3, 28  -- in characters: the text's width, the space around a cell, what counts as prose
local function sized(tbl)
  local longest = {}
  for _, rows in ipairs {tbl.head.rows, tbl.bodies[1].body} do
    for _, row in ipairs(rows) do
      for column, cell in ipairs(row.cells) do
        longest[column] = math.max(longest[column] or 0, utf8.len(pandoc.utils.stringify(cell.contents)))
      end
    end
  end
  local rest, prose, total = LINE, 0, 0
  for _, length in ipairs(longest) do
    total = total + length + GAP
    if length >= PROSE then prose = prose + math.sqrt(length) else rest = rest - length - GAP end
  end
  if total <= LINE or prose == 0 then return tbl end
  local share = math.max(rest / LINE, 0.38)
  tbl.colspecs = tbl.colspecs:map(function(spec, column)
    return longest[column] < PROSE and spec or {spec[1], share * math.sqrt(longest[column]) / prose}
  end)
  return tbl
end

local make = {}  -- kind of block -> function(block) -> pandoc blocks

function make.markdown(block) return read(block.text) end

function make.html(block)  -- an output that is nothing but HTML; its colours go
  local text = block.text:gsub('<style.->.-</style>', '')
  local known, tag = readable(text)
  if tag then fail('an output is HTML with <' .. tag .. '>, which cannot be shown; tag its cell remove-output') end
  return known and from_html(text, {}):walk(safe) or {pandoc.Para(text)}
end

function make.raw(block) return {raw(block.text)} end

function make.code(block) return {pandoc.CodeBlock(block.text, {'', {'python'}})} end

function make.output(block) return {pandoc.CodeBlock(block.text, {'', {'output'}})} end

function make.figure(block)
  local picture = pandoc.Plain {raw_inline(block.picture)}
  if not block.id then return {pandoc.Figure({picture}, {})} end
  claim(block.id, 'label ' .. block.id)
  claim('Figure ' .. block.number, 'the number of Figure ' .. block.number)
  numbers[block.id] = block.number
  local figure = pandoc.Figure({picture}, {long = {pandoc.Plain(caption('Figure', block))}}, {block.id})
  if html or block.abstract or not block.tall then return {figure} end
  return {raw '#[#set figure(placement: auto)', figure, raw ']'}  -- at the top or the bottom of a page with room
end

function make.table(block)
  claim(block.id, 'label ' .. block.id)
  numbers[block.id] = block.number
  local tbl = read(block.text)[1]
  local text = caption('Table', block)
  if not html then
    tbl.identifier, tbl.caption = block.id, {long = {pandoc.Plain(text)}}
    return {tbl}
  end
  local described = block.id .. '-caption'
  return {
    raw('<figure class="table" id="' .. block.id .. '"><figcaption id="' .. described .. '">'),
    pandoc.Plain(text),
    raw '</figcaption>',
    scrolling(tbl, 'aria-labelledby', described),
    raw '</figure>',
  }
end

-- A notebook without a title whose only first-level heading comes first: that heading is the title.
local function lift_title(blocks, fallback)
  local first, tops = blocks[1], 0
  blocks:walk {Header = function(heading) if heading.level == 1 then tops = tops + 1 end end}
  if not (first and first.t == 'Header' and first.level == 1 and tops == 1) then return fallback, blocks end
  blocks:remove(1)
  return pandoc.utils.stringify(first.content), blocks:walk {Header = function(heading)
    heading.level = heading.level - 1
    return heading
  end}
end

local function number_heading(heading)
  if heading.classes:includes 'lettered' then
    letters, count.heading[1] = true, 0
  end
  local level, words = math.min(heading.level, depth + 1, 5), pandoc.utils.stringify(heading.content)
  depth, heading.level = level, level
  count.heading[level] = count.heading[level] + 1
  for deeper = level + 1, 5 do count.heading[deeper] = 0 end
  local number = table.concat(count.heading, '.', 1, level)
  if letters then number = number:gsub('^%d+', function(chapter) return string.char(64 + chapter) end) end
  if heading.identifier ~= '' then
    claim(heading.identifier, 'label ' .. heading.identifier)
    numbers[heading.identifier] = number
  else
    local stem = 's-' .. words:lower():gsub('[^%w]+', '-'):gsub('^-', ''):gsub('-$', '')
    local id, again = stem, 1
    while taken[id] do id, again = stem .. '-' .. again, again + 1 end
    taken[id], heading.identifier = true, id
  end
  if heading.classes:includes 'alone' then alone[heading.identifier] = true end
  heading.classes = heading.classes:filter(function(class) return class ~= 'alone' and class ~= 'lettered' end)
  if html then  -- h1 is the title; Typst numbers headings itself
    heading.content:insert(1, pandoc.Space())
    heading.content:insert(1, pandoc.Span(number, {'', {'number'}}))
    heading.level = level + 1
  end
  return heading
end

local function link_heading(heading)
  local number = heading.content[1].classes and heading.content[1].classes:includes 'number' and heading.content[1]
  local what = number and 'Section ' .. pandoc.utils.stringify(number) or pandoc.utils.stringify(heading)
  heading.content:insert(permalink(heading.identifier, what))
  return heading
end

local function refer(link)
  local label = link.target:match '^#(.+)'
  if not label then return end
  local number, name = numbers[label], NAMES[label:match '^(%a+)-' or '']
  if not number then fail('link to #' .. label .. ', which no figure, table or heading is labelled') end
  local instead = not html and alone[label]
  if instead == true then return {pandoc.Str(name .. '\u{a0}' .. number .. ' of the page')} end
  if instead then
    if not numbers[instead] or alone[instead] then fail('#' .. instead .. ' is not in print, instead of #' .. label) end
    link.target, link.content = '#' .. instead, {pandoc.Str(name .. '\u{a0}' .. numbers[instead] .. ', ' .. number:match '^[^,]*')}
    return link
  end
  local words = ' ' .. pandoc.utils.stringify(link.content) .. ' '
  if not words:find('%f[%w.]' .. number:gsub('%p', '%%%0') .. '%f[^%w]') then  -- [6a](#fig-6a) stays as it is
    link.content = {pandoc.Str(name .. '\u{a0}' .. number)}
  end
  return link
end

-- A line may break after a formula, even before its full stop: keep the two together.
local function hold_formulas(inlines)
  if not html then return end
  for i = #inlines - 1, 1, -1 do
    local formula, next = inlines[i], inlines[i + 1]
    if formula.t == 'Math' and formula.mathtype == 'InlineMath' and next.t == 'Str' then
      inlines[i] = pandoc.Span({formula, inlines:remove(i + 1)}, {'', {'held'}})
    end
  end
  return inlines
end

local finish = {
  Inlines = hold_formulas,
  Link = refer,
  CodeBlock = function(code)
    if html then code.attributes.tabindex = '0' end
    return code
  end,
  Math = function(formula)
    if html then  -- a long formula scrolls by itself, like a table
      return formula.mathtype == 'DisplayMath' and pandoc.Span({formula}, {'', {'formula'}, {tabindex = '0'}}) or nil
    end
    -- PDF/UA wants an alternative text: the TeX source
    formula.text = formula.text:gsub('\\label%s*%b{}', '')
    local body = pandoc.write(pandoc.Pandoc {pandoc.Plain {formula}}, 'typst'):gsub('%s+$', '')
    local alt = formula.text:gsub('\\', '\\\\'):gsub('"', '\\"'):gsub('%s+', ' ')
    local display = tostring(formula.mathtype == 'DisplayMath')
    return pandoc.RawInline('typst', '#math.equation(block: ' .. display .. ', alt: "' .. alt .. '", ' .. body .. ');')
  end,
}

-- Print has neither what is on the page alone, which is numbered all the same, nor letters unless Typst is told.
local function marked(block, made)
  made = pandoc.Blocks(made):walk {Header = function(heading)
    if block.alone then heading.classes:insert 'alone' end
    if block.lettered and heading.level == 1 then heading.classes:insert 'lettered' end
    return heading
  end}
  if block.id and block.alone then alone[block.id] = block.instead or true end
  if html or not (block.alone or block.lettered) then return made end
  return {pandoc.Div(made, {'', {block.alone and 'alone' or 'lettered'}})}
end

local function printed(div)
  if div.classes:includes 'alone' then return {} end
  if not div.classes:includes 'lettered' then return end
  return {raw '#counter(heading).update(0)\n#set heading(numbering: "A.1")', table.unpack(div.content)}
end

-- The supplement is mostly tables and figures: they stand whole at the top or the bottom of a page with room, unless long.
local LONG = 45  -- lines, with which a table would fill a page
local function lines(tbl)
  local count = 0
  for _, rows in ipairs {tbl.head.rows, tbl.bodies[1].body} do
    for _, row in ipairs(rows) do
      local high = 1
      for column, cell in ipairs(row.cells) do
        local share = tbl.colspecs[column][2]
        local length = utf8.len(pandoc.utils.stringify(cell.contents))
        if share then high = math.max(high, math.ceil(length / (share * LINE))) end
      end
      count = count + high
    end
  end
  return count
end

local function floats(block)
  return block.identifier ~= '' and (block.t == 'Figure' or block.t == 'Table' and lines(block) < LONG)
end

local function floating(blocks)
  local supplement, place, found = false, 'bottom', pandoc.Blocks {}  -- the first one not above the supplement's heading
  for _, block in ipairs(blocks) do
    supplement = supplement or block.t == 'RawBlock' and block.text:find('heading(numbering', 1, true)
    if supplement and floats(block) then
      found:extend {raw('#[#set figure(placement: ' .. place .. ')'), block, raw ']'}
      place = 'auto'
    else
      found:insert(block)
    end
  end
  return found
end

local function fit_tables(blocks)
  if not html then return floating(blocks:walk {Table = sized}) end
  return blocks:walk {
    traverse = 'topdown',
    Div = function(div) if div.classes:includes 'scroll' then return div, false end end,
    Table = function(tbl)
      count.unnumbered = count.unnumbered + 1
      return scrolling(tbl, 'aria-label', 'Unnumbered table ' .. count.unnumbered), false
    end,
  }
end

function Reader(input)
  local notebook = pandoc.json.decode(tostring(input), false)
  html = notebook.html
  mark, places = notebook.mark, notebook.places
  dialect = DIALECT .. (notebook.citations and '+citations' or '')

  local abstract, blocks = pandoc.Blocks {}, pandoc.Blocks {}
  for _, block in ipairs(notebook.blocks) do
    local target = block.abstract and abstract or blocks
    cell = block.cell
    target:extend(marked(block, make[block.kind](block)))
  end
  cell = nil
  local title = notebook.title
  if not title then title, blocks = lift_title(blocks, notebook.name) end
  blocks = blocks:walk {Header = number_heading}
  if not html then blocks = blocks:walk {Div = printed} end
  if notebook.citations then
    blocks:insert(pandoc.Header(html and 2 or 1, 'References', {'references', {'unnumbered'}}))
    blocks:insert(pandoc.Div({}, {'refs'}))
  end
  blocks, abstract = blocks:walk(finish), abstract:walk(finish)
  blocks, abstract = fit_tables(blocks), fit_tables(abstract)

  local links = pandoc.List(notebook.links):filter(function(link)  -- beside a PDF there may be nothing
    return html or link[2]:match '://'
  end)
  local contents = pandoc.Blocks {}
  if html and blocks:find_if(function(block) return block.t == 'Header' end) then
    local list = pandoc.structure.table_of_contents(blocks, {toc_depth = 3})
    if #abstract > 0 then list.content:insert(1, {pandoc.Plain {pandoc.Link('Abstract', '#abstract')}}) end
    contents:insert(list)
    contents = contents:walk {Link = function(link)  -- the template shows the contents twice
      link.identifier = ''
      return link
    end}
  end
  if html then blocks = blocks:walk {Header = link_heading} end
  local meta = {
    title = pandoc.MetaString(title),
    lang = pandoc.MetaString(notebook.lang),
    subtitle = notebook.subtitle and pandoc.MetaString(notebook.subtitle),
    date = notebook.date and pandoc.MetaString(notebook.date),
    authors = pandoc.List(notebook.authors):map(function(author) return pandoc.MetaInlines {raw_inline(author)} end),
    links = links:map(function(link) return pandoc.MetaInlines {pandoc.Link(link[1], link[2])} end),
    abstract = #abstract > 0 and pandoc.MetaBlocks(abstract) or nil,
    contents = pandoc.MetaBlocks(contents),
  }
  for name, text in pairs(notebook.literal) do meta[name] = pandoc.MetaInlines {raw_inline(text)} end
  return pandoc.Pandoc(blocks, meta)
end
