(function(){
var body=document.body,made=Date.parse(body.dataset.made),limit=+body.dataset.limit*1000,note=document.getElementById("stale");
function look(){
var age=Date.now()-made;
if(!limit||age<=limit)return;
var minutes=Math.floor(age/60000);
note.textContent="This page is "+(minutes<120?minutes+" min":Math.floor(minutes/60)+" h")+" old: nothing has written it since. What it says may no longer be true.";
note.hidden=false;
body.className="stale";
}
look();
setInterval(look,10000);
})();
