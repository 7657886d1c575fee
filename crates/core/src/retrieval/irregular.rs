//! English words that no stemmer knows how to reduce, and words that carry no meaning of their own.

/// Base forms with the irregular forms that stand for them. A form that is also a word of its own in
/// everyday use ("saw", "felt", "left", "ground", "found" as a noun) is listed where the verb is what people
/// mostly mean by it.
pub(super) const BASE_FORMS: &str = "\
arise:arose arisen
awake:awoke awoken
bear:bore borne
beat:beaten
become:became
begin:began begun
bend:bent
bite:bit bitten
bleed:bled
blow:blew blown
break:broke broken
breed:bred
bring:brought
build:built
burn:burnt
buy:bought
catch:caught
choose:chose chosen
come:came
creep:crept
deal:dealt
dig:dug
draw:drew drawn
dream:dreamt
drink:drank drunk
drive:drove driven
eat:ate eaten
fall:fell fallen
feed:fed
feel:felt
fight:fought
find:found
flee:fled
fly:flew flown
forbid:forbade forbidden
forget:forgot forgotten
forgive:forgave forgiven
freeze:froze frozen
get:got gotten
give:gave given
go:went gone goes
grow:grew grown
hang:hung
hear:heard
hide:hid hidden
hold:held
keep:kept
kneel:knelt
know:knew known
lead:led
lean:leant
learn:learnt
leave:left
lend:lent
lie:lain
light:lit
lose:lost
make:made
mean:meant
meet:met
mistake:mistook mistaken
pay:paid
prove:proven
ride:rode ridden
ring:rang rung
rise:rose risen
run:ran
say:said
see:saw seen
seek:sought
sell:sold
send:sent
sew:sewn
shake:shook shaken
shine:shone
shoot:shot
show:shown
shrink:shrank shrunk
sing:sang sung
sink:sank sunk
sit:sat
sleep:slept
slide:slid
smell:smelt
sneak:snuck
speak:spoke spoken
speed:sped
spell:spelt
spend:spent
spill:spilt
spin:spun
spoil:spoilt
spring:sprang sprung
stand:stood
steal:stole stolen
stick:stuck
sting:stung
strike:struck
strive:strove
swear:swore sworn
sweep:swept
swell:swollen
swim:swam swum
swing:swung
take:took taken
teach:taught
tear:tore torn
tell:told
think:thought
throw:threw thrown
understand:understood
wake:woke woken
wear:wore worn
weave:wove woven
weep:wept
win:won
wind:wound
withdraw:withdrew withdrawn
write:wrote written
child:children kids kid
man:men
woman:women
person:people
foot:feet
tooth:teeth
mouse:mice
goose:geese
wife:wives
knife:knives
shelf:shelves
half:halves
loaf:loaves
wolf:wolves
calf:calves
thief:thieves
good:better best
bad:worse worst
far:further furthest farther
mother:mom mum mommy mummy mama
father:dad daddy papa
grandmother:grandma granny nana
grandfather:grandpa granddad grandad
television:tv telly
photo:photograph photographs picture pictures pic pics photos
bicycle:bike bikes
refrigerator:fridge
automobile:auto
doctor:doc
veterinarian:vet
application:app apps
laboratory:lab labs
examination:exam exams
mathematics:math maths
university:uni
";

/// Function words of English: articles, pronouns, prepositions, auxiliaries, question words.
pub(super) const FUNCTION_WORDS: &str = "\
a an the this that these those there here
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself
she her hers herself it its itself they them their theirs themselves one ones
what which who whom whose when where why how whatever whichever whoever
am is are was were be been being do does did done doing have has had having
will would shall should can could may might must ought
dont doesnt didnt isnt arent wasnt werent hasnt havent hadnt wont wouldnt shouldnt cant couldnt
im ive id ill youre youve youd youll hes shes theyre theyve weve theyd wed well lets thats theres whats
and or but nor so if then else than because as while though although until unless
of in on at by for with about against between into through during before after above below to from
up down out off over under again once further
not no yes only own same too very just also any some all both each few more most other such
s t ll ve re d m
";
